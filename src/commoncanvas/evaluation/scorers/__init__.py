"""Scores of images and their prompts: one file a scorer."""
