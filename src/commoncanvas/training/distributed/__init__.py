"""Training of one network by several processes."""
