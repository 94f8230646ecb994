"""Some images of a source, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfcontrastive import data

_SIDE = 192


def images_of(
    source: data.Source,
    split: str,
    rows: Sequence[int],
    *,
    image_size: int = _SIDE,
    preprocessing: data.Preprocessing | None = None,
) -> np.ndarray:
    """The images of some rows of a split, as evaluation sees them, or as they are where they are held in memory.

    Args:
        source: from `tfcontrastive.data.load`.
        split: name or expression.
        rows: `[n]` positions in the order of `eval_batches`, in any order.
        image_size: height and width, of images that are read from files.
        preprocessing: the encoder's rule.

    Returns:
        `[n, H, W, C]`, uint8 or float in [0, 1].

    Examples:
        >>> images_of(tfcontrastive.data.load("embedded"), "test", [3, 0]).shape
        (2, 28, 28, 1)
    """
    rows = np.asarray(rows, np.int64)
    held = source.arrays(split)
    if held is not None:
        return held[0][rows]
    unique, place = np.unique(rows, return_inverse=True)
    few = data.Subset(source, {"some": (split, unique)})
    batches = data.eval_batches(few, "some", batch_size=64, image_size=image_size, preprocessing=preprocessing)
    return np.concatenate([batch["image"].numpy() for batch in batches])[place]
