"""The page on which people draw, and see which training images are nearest to what they got."""
