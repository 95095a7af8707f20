"""The page that searches a catalog, and the pictures of its rows."""
