"""What every other part may use: errors, the terminal, files, text and numbers."""
