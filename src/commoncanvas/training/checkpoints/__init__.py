"""Checkpoints: written during training, each complete or absent."""
