// The numbers beside the spectrum, each with what it means.

/** @import { Spectrum } from "./types" */
import { h } from "./dom.js";
import { unbroken } from "./numbers.js";

/** What will be there, so that nothing jumps when it comes. */
const EXPECTED = [
  ["lambda_max", "λ_max"],
  ["lambda_min", "λ_min"],
  ["trace", "tr H"],
  ["trace_ratio", "s"],
  ["gradient", "‖∇L‖"],
  ["range", "h₀"],
  ["planes", "random planes"],
].map(([key, symbol]) => ({ key, symbol, label: "", text: "", help: "" }));

/** A symbol with its index below the line. @param {string} text */
function symbol(text) {
  const [name, index] = text.split("_");
  return index ? [name, h("sub", {}, index)] : [name];
}

export function createNumbers() {
  const object = h("dl", { class: "lw-numbers" });
  let shown = "";

  return {
    object,

    /** @param {Spectrum} spectrum @param {boolean} coming whether what is missing is still to come */
    update({ numbers, planes }, coming) {
      const rows = numbers ?? (coming ? EXPECTED : []);
      const key = JSON.stringify([rows, planes, coming]);
      if (key === shown) return;
      shown = key;
      object.hidden = rows.length === 0;
      object.replaceChildren(
        ...rows.map(({ key, symbol: name, label, text, help }) =>
          h(
            "div",
            { title: [help, key === "planes" ? planes : ""].filter(Boolean).join(" "), "data-number": key },
            h("dt", { "aria-label": label && label !== name ? label : null }, ...symbol(name)),
            h("dd", {}, unbroken(text) || "…"),
          ),
        ),
      );
    },
  };
}
