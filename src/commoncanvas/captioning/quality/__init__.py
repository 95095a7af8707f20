"""How good captions are, and which to drop."""
