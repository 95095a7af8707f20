"""Files of strangers, row by row, in bounded memory: what can't be read is counted, and ends no import."""
