"""Select the rows to train on: scores, duplicates and saved filters."""
