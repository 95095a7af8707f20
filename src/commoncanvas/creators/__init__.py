"""Creators: normal forms for names and addresses, and the rows of each person. Pure."""
