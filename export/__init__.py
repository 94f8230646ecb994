"""From a trained encoder to what others use: one SavedModel, embedding files, search and serving."""

from tfcontrastive.export.saved_model import save_model

__all__ = ["save_model"]
