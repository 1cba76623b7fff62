// The surface's shaders. Colours are mixed as they are shown (sRGB), so that the colour map keeps the lightness it was made for.

export const vertexShader = /* glsl */ `
attribute float height;
attribute vec2 slope;
attribute float bend;
attribute float sure;
uniform vec2 range;
uniform float lift;
varying float vT;
varying float vBend;
varying float vSure;
varying vec3 vNormal;
varying vec3 vEye;

void main() {
  float unit = 1.0 / (range.y - range.x);
  vT = (height - range.x) * unit;
  vBend = bend;
  vSure = sure;

  // The rows run away from the viewer, along −z; the slope along them is that of β.
  vec3 normal = vec3(-slope.x * unit * lift, 1.0, slope.y * unit * lift);
  vNormal = normalMatrix * normalize(normal);

  vec4 eye = modelViewMatrix * vec4(position.x, lift * vT, position.z, 1.0);
  vEye = eye.xyz;
  gl_Position = projectionMatrix * eye;
}`;

export const fragmentShader = /* glsl */ `
uniform sampler2D colors;
uniform vec3 tint;
uniform float saddles;
uniform float contours;
uniform vec2 levels;
uniform float pixel;
varying float vT;
varying float vBend;
varying float vSure;
varying vec3 vNormal;
varying vec3 vEye;

// How much of a line of this half width, in pixels, covers a fragment at this distance, in pixels.
float stroke(float distance, float halfWidth) {
  return 1.0 - smoothstep(halfWidth - 0.5, halfWidth + 0.5, distance);
}

void main() {
  float t = clamp(vT, 0.0, 1.0);
  vec3 color = texture2D(colors, vec2((t * 255.0 + 0.5) / 256.0, 0.5)).rgb;
  float lightness = dot(color, vec3(0.299, 0.587, 0.114));

  // What was measured on a part of the data is seen through: every other pixel is left out.
  vec2 place = floor(gl_FragCoord.xy / max(pixel, 1.0));
  if (vSure < -0.5 && mod(place.x + place.y, 2.0) > 0.5) discard;

  // What was not measured is a little paler.
  color = mix(mix(vec3(lightness), color, 0.88) * 0.98 + 0.02, color, max(vSure, 0.0));

  // Negative curvature: a tint inside, added to dark colours and mixed into light ones, and a thin line along its border.
  float inside = smoothstep(0.0, 0.5, vBend);
  vec3 onDark = 1.0 - (1.0 - color) * (1.0 - tint * saddles * 0.72 * inside);
  vec3 onLight = mix(color, tint, saddles * 0.6 * inside);
  color = mix(onDark, onLight, smoothstep(0.35, 0.7, lightness));
  float border = stroke(abs(vBend) / max(fwidth(vBend), 1e-6), 0.6 * pixel);
  color = mix(color, tint * 0.7, saddles * 0.8 * border * step(1e-5, fwidth(vBend)));

  // A soft lamp above the viewer's left shoulder, and light from the sky all around.
  vec3 normal = normalize(vNormal);
  bool behind = dot(normal, vEye) > 0.0;
  if (behind) normal = -normal;
  float lamp = max(0.0, dot(normal, normalize(vec3(-0.42, 0.78, 0.52))));
  float sky = 0.5 + 0.5 * normal.y;
  float light = 0.56 + 0.34 * lamp + 0.20 * sky;
  if (behind) light *= 0.82;
  color *= light;
  vec3 half_ = normalize(normalize(vec3(-0.42, 0.78, 0.52)) - normalize(vEye));
  color += 0.07 * pow(max(0.0, dot(normal, half_)), 24.0);

  // Contour lines of even width on the screen; they fade where they would run together. Dark on light colours, light on dark ones.
  float c = levels.x + vT * levels.y;
  float w = fwidth(c);
  float major = step(abs(fract(c / 5.0 + 0.5) - 0.5) * 5.0, 0.5);
  float away = abs(fract(c + 0.5) - 0.5) / max(w, 1e-6);
  float line = stroke(away, mix(0.42, 0.75, major) * pixel) * (1.0 - smoothstep(0.22, 0.5, w));
  vec3 ink = lightness < 0.33 ? vec3(1.0) : vec3(0.02, 0.03, 0.06);
  color = mix(color, ink, contours * line * mix(0.30, 0.52, major) * (lightness < 0.33 ? 0.62 : 1.0));

  gl_FragColor = vec4(color, 1.0);
}`;
