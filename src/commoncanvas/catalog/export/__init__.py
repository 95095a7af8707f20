"""Part of the table as shards that others read, with credits and a data card."""
