"""What a model gives back of its training images, and which are nearest to an image."""
