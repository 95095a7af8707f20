"""What a model folder says of itself: what it is made from, under which licence, how good, and how to use it."""
