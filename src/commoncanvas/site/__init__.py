"""The pages of `serve`: draw, search a catalog, look a picture up, read about models, follow a training."""
