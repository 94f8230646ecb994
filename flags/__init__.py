"""Command-line flags, derived from the config dataclasses."""

from tfcontrastive.flags.define import define, from_flags, of_recipe
from tfcontrastive.flags.parse import expand, given, help_text, parse, peek, recipe_names, recipe_path, spelled

__all__ = [
    "define",
    "expand",
    "from_flags",
    "given",
    "help_text",
    "of_recipe",
    "parse",
    "peek",
    "recipe_names",
    "recipe_path",
    "spelled",
]
