"""Benchmarks' own prompts: one file a benchmark reads its published form, and lays images out as its scorer wants."""
