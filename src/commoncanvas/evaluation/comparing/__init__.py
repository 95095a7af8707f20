"""Compare two sets of images: Fréchet and kernel distances, precision and recall, scores, each with an interval."""
