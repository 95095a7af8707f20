"""One Lance table, a row an image: columns that stages add, rows that imports append, and what was taken down."""
