"""Networks that predict noise or velocity: how they are built, conditioned and aligned."""
