"""`release model`: a folder with all that a published model needs."""
