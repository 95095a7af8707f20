"""Images and texts as a network reads them, computed once and kept as columns of the table."""
