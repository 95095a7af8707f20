"""Helpers for all other packages: errors, the terminal, files, text and numbers."""
