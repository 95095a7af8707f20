"""Draw images with a model: what to draw, and the files with their settings."""
