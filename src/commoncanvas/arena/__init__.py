"""Blind comparisons of models by people, and their statistics."""
