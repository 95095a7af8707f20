"""Count what is in the table and what was left out."""
