"""From drawings to a model, its figures and its credits, in one command."""
