"""Report the quality of captions, and drop bad ones."""
