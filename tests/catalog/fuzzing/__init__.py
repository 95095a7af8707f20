"""Hostile inputs for every source and reader, made from a seed: odd records, damaged files, and accounts to keep."""
