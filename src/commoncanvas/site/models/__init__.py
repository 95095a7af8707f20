"""The pages *Models*: what each model is, what it learned from, its figures, its card, its credits."""
