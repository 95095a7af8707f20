"""Rows, or all rows of a creator, taken out of the table and kept out."""
