"""Show rows."""
