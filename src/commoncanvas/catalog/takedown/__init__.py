"""Remove rows, or all rows of a creator, from the table and keep them out."""
