"""Pretrained networks: finding their files, loading them, and the devices that run them."""
