"""The page about one image of a catalog, and requests to take images out."""
