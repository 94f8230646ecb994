"""The flags that every command with a run of its own has beside the run's config."""

from __future__ import annotations

from absl import flags


def run_flags(directory: str) -> flags.FlagValues:
    """Defines them.

    Args:
        directory: the name of the flag that says where the run is, for the help.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("recipe", None, "A packaged flag file; flags on the command line override it.", values)
    flags.DEFINE_string("flagfile", None, "A file of flags, one a line.", values)
    flags.DEFINE_boolean("overwrite", False, f"Move another run's {directory} aside and start anew.", values)
    flags.DEFINE_boolean("allow_config_change", False, "Go on from a checkpoint with another configuration.", values)
    flags.DEFINE_enum(
        "mode",
        "train",
        ["train", "eval", "train_then_eval"],
        "train (which ends with an evaluation), or eval: evaluate the newest checkpoint.",
        values,
    )
    return values
