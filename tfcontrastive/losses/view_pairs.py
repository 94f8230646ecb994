"""Which views of an image are compared with which."""

from __future__ import annotations

from tfcontrastive.config import InputError


def target_pairs(views: int, targets: int) -> list[tuple[int, int]]:
    """Every view with the target of every other: ordered pairs (a, b), a != b, of which b is one of the first ones.

    Each target has `views - 1` partners, so that the mean over the pairs is SwAV's mean over targets of means over views.

    Args:
        views: V >= 2.
        targets: how many views have one, the first ones, 1 to V.

    Raises:
        InputError: a view alone.

    Examples:
        >>> target_pairs(2, 2)
        [(0, 1), (1, 0)]
        >>> target_pairs(3, 2)
        [(0, 1), (1, 0), (2, 0), (2, 1)]
    """
    check_views(views)
    return [(a, b) for a in range(views) for b in range(targets) if a != b]


def pairs_once(views: int, targets: int) -> list[tuple[int, int]]:
    """The same pairs without their order, for what compares two views alike: (a, b), a < b, of which a is a first one.

    Args:
        views: V >= 2.
        targets: how many of the first ones are compared with all others, 1 to V.

    Raises:
        InputError: a view alone.

    Examples:
        >>> pairs_once(3, 2)
        [(0, 1), (0, 2), (1, 2)]
        >>> pairs_once(4, 2)  # never (2, 3), of two small views
        [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    """
    check_views(views)
    return [(a, b) for a in range(targets) for b in range(a + 1, views)]


def check_views(views: int) -> None:
    """Refuses a view alone."""
    if views < 2:
        raise InputError(f"views must be 2 or more of each image, to be compared. Received: {views}.")
