"""Import rows from sources into the table: one module per source, and records of skipped rows."""
