"""From `image_url` to a stored image: what may be asked for, how it is asked, and what becomes of the answer."""
