"""The report on an arena: figures, sentences, the terminal's tables, and the page."""
