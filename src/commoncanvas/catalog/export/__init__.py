"""Write rows of the table as shards for other tools, with credits and a data card."""
