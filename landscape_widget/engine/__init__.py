"""The torch side: problem → curvature → plane → survey. It knows nothing of Jupyter."""
