"""Networks that are taken as they are, where their files are found and how they are loaded, and what computes them."""
