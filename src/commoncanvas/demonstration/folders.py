"""The folders of a demo's models."""

MODELS = {"captioner": "xs-captioner", "autoencoder": "xs-autoencoder", "diffusion": "model"}
"""By task."""
HUMAN_TEXT = "human-text"
"""The same diffusion model, trained on people's names for the same images."""
