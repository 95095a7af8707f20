"""Sweeps: images of several models over guidance scales, steps and samplers, and the figures of each setting."""
