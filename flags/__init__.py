"""Command-line flags, derived from the config dataclasses."""

from tfcontrastive.flags.define import define, from_flags
from tfcontrastive.flags.parse import expand, help_text, parse, peek, recipe_names, recipe_path

__all__ = ["define", "expand", "from_flags", "help_text", "parse", "peek", "recipe_names", "recipe_path"]
