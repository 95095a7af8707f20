"""The Lance table with one row per image: imports add rows, stages add columns, takedowns remove rows."""
