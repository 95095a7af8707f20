"""From somebody's collection to rows of the table: one module a source, and what imports left out."""
