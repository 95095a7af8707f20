"""Images from their addresses, or from local files, into the table."""
