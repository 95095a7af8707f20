"""Who made an image: one normal form for names and for addresses, and which rows are by whom. Pure."""
