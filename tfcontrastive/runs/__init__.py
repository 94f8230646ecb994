"""A run: from a config to a directory with checkpoints, logs and a result, and back."""
