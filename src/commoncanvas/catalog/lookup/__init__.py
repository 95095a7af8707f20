"""Whether a picture is in the table, also resized, cropped or mirrored."""
