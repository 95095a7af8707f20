"""Recipes: one validated schema for each task, read from YAML. The command line can set any field: `--a.b value`."""

from commoncanvas.config.data import MAIN, CatalogConfig, DataConfig, ShuffleConfig
from commoncanvas.config.load import as_recipe, load_recipe, split_words, validate_recipe
from commoncanvas.config.recipes import (
    COLOUR_CELL,
    AlignmentConfig,
    AutoencoderRecipe,
    CaptionerRecipe,
    DiffusionRecipe,
    EncodeConfig,
    NoiseConfig,
    Recipe,
    RecipeBase,
    SampleConfig,
    ValidationConfig,
)
from commoncanvas.config.train import TrainConfig

__all__ = [
    "COLOUR_CELL",
    "MAIN",
    "AlignmentConfig",
    "AutoencoderRecipe",
    "CaptionerRecipe",
    "CatalogConfig",
    "DataConfig",
    "DiffusionRecipe",
    "EncodeConfig",
    "NoiseConfig",
    "Recipe",
    "RecipeBase",
    "SampleConfig",
    "ShuffleConfig",
    "TrainConfig",
    "ValidationConfig",
    "as_recipe",
    "load_recipe",
    "split_words",
    "validate_recipe",
]
