"""Zero-shot classification: a class is what its prompts say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.evaluate.checks import checked_features, checked_labels
from tfcontrastive.evaluate.metrics import accuracies


def class_vectors(prompts: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    r"""The vector of each class: the mean of its prompts' directions, scaled to unit length.

    $$ v_c = m_c / |m_c|, \quad m_c = \frac{1}{P_c} \sum_p \frac{t_{cp}}{|t_{cp}|} $$

    Args:
        prompts: for each of C classes the embeddings `[P, D]` of its prompts, P >= 1 and different ones where wanted; or
            an array `[C, P, D]`.

    Returns:
        float32 `[C, D]`.

    Raises:
        InputError: a class without prompts, values that are not finite, or widths that differ.

    Examples:
        >>> class_vectors([[[2.0, 0.0], [0.0, 3.0]], [[0.0, 1.0]]]).round(4)
        array([[0.7071, 0.7071],
               [0.    , 1.    ]], dtype=float32)

    Source: Radford et al. (CLIP), arXiv 2103.00020, section 3.1.4.
    """
    if not len(prompts):
        raise InputError("`prompts` must hold one class or more. Received: none.")
    first = checked_features("prompts[0]", prompts[0])
    each = [checked_features(f"prompts[{c}]", rows, width=first.shape[1]) for c, rows in enumerate(prompts)]
    return np.stack([_unit(_unit(rows).mean(axis=0)) for rows in each])


def zero_shot_scores(embeddings: np.ndarray, prompts: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """The cosine of each embedding with each class.

    Args:
        embeddings: `[N, D]` float.
        prompts: as of `class_vectors`.

    Returns:
        float32 `[N, C]` in [-1, 1].

    Raises:
        InputError: as `class_vectors`.

    Examples:
        >>> zero_shot_scores([[0.0, 2.0]], [[[1.0, 0.0]], [[0.0, 1.0]]]).tolist()
        [[0.0, 1.0]]
    """
    vectors = class_vectors(prompts)
    return _unit(checked_features("embeddings", embeddings, width=vectors.shape[1])) @ vectors.T


def zero_shot(
    embeddings: np.ndarray, labels: np.ndarray, prompts: Sequence[np.ndarray] | np.ndarray
) -> dict[str, float]:
    """The accuracy of naming the class whose prompts an embedding is nearest to. No label has trained anything.

    Args:
        embeddings: `[N, D]` float, of images say.
        labels: `[N]` integers in `[0, C)`.
        prompts: as of `class_vectors`, in the order of the classes.

    Returns:
        `zero_shot_top1`, `zero_shot_top5`, `zero_shot_mean_per_class`, `zero_shot_top1_low`, `zero_shot_top1_high` (see
        `accuracies`), and `zero_shot_chance`: 1 / C.

    Raises:
        InputError: as `class_vectors`, and labels out of range.

    Examples:
        >>> zero_shot([[0.0, 2.0]], [1], [[[1.0, 0.0]], [[0.0, 1.0]]])["zero_shot_top1"]
        1.0

    Source: Radford et al. (CLIP), arXiv 2103.00020, section 3.1.
    """
    scores = zero_shot_scores(embeddings, prompts)
    labels = checked_labels("labels", labels, *scores.shape)
    return {**accuracies("zero_shot", scores, labels), "zero_shot_chance": 1 / scores.shape[1]}


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
