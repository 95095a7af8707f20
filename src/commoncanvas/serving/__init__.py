"""A server that draws: OpenAI's images API over a model folder, with images that depend on their seed alone."""
