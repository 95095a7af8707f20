"""Which rows are good enough to train on: scores, duplicates, and filters with a name."""
