"""Checkpoints: written beside the training, whole or not there."""
