"""Which of an image's views are large, and which are compared with which."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.losses.view_pairs import pairs_once, target_pairs


def large_views(views: Sequence[tf.Tensor]) -> int:
    """How many views are large: as many as have the first one's size. They have targets, smaller ones predict them.

    Args:
        views: V tensors `[B, H, W, C]`, the largest first.

    Raises:
        InputError: they come in another order.

    Examples:
        >>> large_views([tf.zeros([4, side, side, 3]) for side in (28, 28, 14)])
        2
    """
    sizes = [tuple(view.shape[1:3]) for view in views]
    if any(None in size for size in sizes):  # of sizes that the graph does not know, they must be one
        return len(sizes)
    if sizes != sorted(sizes, reverse=True):
        raise InputError(f"views must come with the largest first. Received: {_text(sizes)} pixels.")
    return sizes.count(sizes[0])


def _text(sizes: list[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, size)) for size in sizes)


__all__ = ["large_views", "pairs_once", "target_pairs"]
