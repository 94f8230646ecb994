"""More views of an image than two, and smaller ones: multi-crop."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

from tfcontrastive.config import InputError

if TYPE_CHECKING:
    from tfcontrastive.augment.policies import Policy

_SIZE, _AREA = 96 / 224, (0.05, 0.14)  # SwAV's


def with_views(
    policy: Policy,
    *,
    num_views: int | None = None,
    small_views: int | None = None,
    small_view_size: int | None = None,
    small_view_area: tuple[float, float] | None = None,
) -> Policy:
    """A policy with more views, and smaller ones. Its own views' colors take turns, among the large and among the small.

    Args:
        policy: any of `POLICIES`; with one whose name tells its views, what is given must agree.
        num_views: large views, >= 1; None: as many as it has.
        small_views: smaller ones, >= 0; None: none.
        small_view_size: height and width of a small view in pixels; None: 3/7 of the image's, SwAV's 96 of 224.
        small_view_area: smallest and largest part of the image that a small view covers; None: SwAV's .05 and .14.

    Raises:
        InputError: it contradicts the policy's name, or tells of small views where there are none.

    Examples:
        >>> made = with_views(tfcontrastive.augment.policy("byol"), small_views=4)
        >>> made.sides(224)
        (224, 224, 96, 96, 96, 96)
        >>> [view.blur_probability for view in made.views]
        [1.0, 0.1, 1.0, 0.1, 1.0, 0.1]

    Source: Caron et al. (SwAV), arXiv 2006.09882, section 3.3.
    """
    settings: dict[str, Any] = {
        "num_views": num_views,
        "small_views": small_views,
        "small_view_size": small_view_size,
        "small_view_area": small_view_area,
    }
    asked = {name: value for name, value in settings.items() if value is not None}
    if policy.image_size is not None:
        _check_agreement(asked, policy)
        return policy
    for name in ("small_view_size", "small_view_area"):
        if name in asked and not small_views:
            raise InputError(
                f"`{name}` must come with small_views, their number. Received: {name}={_text(asked[name])} alone."
            )
    low, high = small_view_area or _AREA
    small = dataclasses.replace(policy.geometry, min_area=low, max_area=high, size=_SIZE, side=small_view_size)
    views = itertools.islice(itertools.cycle(policy.views), num_views or len(policy.views))
    smaller = itertools.islice(itertools.cycle(policy.views), small_views or 0)
    return dataclasses.replace(policy, views=(*views, *(dataclasses.replace(view, geometry=small) for view in smaller)))


def _check_agreement(asked: dict[str, Any], policy: Policy) -> None:
    """Refuses what contradicts the views that the policy's name tells."""
    large, small = policy.geometries[0], policy.geometries[-1]
    count = policy.geometries.count(large)
    told: dict[str, Any] = {
        "num_views": count,
        "small_views": len(policy.views) - count,
        "small_view_size": small.pixels(policy.image_size),
        "small_view_area": (small.min_area, small.max_area),
    }
    for name, value in asked.items():
        if value != told[name]:
            raise InputError(
                f"`{name}` must be {_text(told[name])} with augmentation={policy.name}. "
                f"Received: {name}={_text(value)}. Leave it out, or take another augmentation."
            )


def _text(value: int | tuple[float, float]) -> str:
    return ",".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)
