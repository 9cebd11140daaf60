"""Recipes: everything that decides what a model is and how it is trained, as frozen plain data."""

from diffsda.recipe.anyrecipe import AnyRecipe
from diffsda.recipe.model import Recipe
from diffsda.recipe.parts import Backbone, Clips, Encoder, Kind, Noise, Optim, Sampling

__all__ = ["AnyRecipe", "Backbone", "Clips", "Encoder", "Kind", "Noise", "Optim", "Recipe", "Sampling"]
