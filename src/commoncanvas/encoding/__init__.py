"""Encode images and texts once, and store the results as columns of the table."""
