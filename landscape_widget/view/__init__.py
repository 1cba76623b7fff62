"""The Jupyter side: widgets and captions made from landscapes. It knows nothing of torch."""
