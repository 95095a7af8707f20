"""Find a picture in the table, even if it was resized, cropped or mirrored."""
