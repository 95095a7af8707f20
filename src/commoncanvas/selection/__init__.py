"""Which rows a recipe trains on, and which are held out."""
