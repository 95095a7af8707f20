"""Fetch images from their addresses or from local files into the table."""
