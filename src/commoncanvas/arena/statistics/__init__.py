"""What votes say, and how surely: win rates, strengths, sequences that may be watched, agreement, checks."""
