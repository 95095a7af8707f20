"""What a model is made from, and under which licence it may be passed on."""
