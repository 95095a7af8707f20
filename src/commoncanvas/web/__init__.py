"""What every page that a server shows has in common: tokens, headers, templates."""
