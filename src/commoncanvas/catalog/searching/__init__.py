"""Search the table: by words, by what a picture looks like, by licence, creator, country and year."""
