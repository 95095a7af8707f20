"""Rows to look at."""
