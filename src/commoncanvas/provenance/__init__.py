"""The documentation in a model folder: what the model is made from, its licence, its figures and its use."""
