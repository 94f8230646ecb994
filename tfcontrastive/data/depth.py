"""16-bit images that hold fewer bits: cut to 8 bits they would be dark, and nobody would see it."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.config.values import DEEPEST
from tfcontrastive.data.images import Facts, decode_with_facts
from tfcontrastive.data.rendering import Rendering


def facts_of(contents: Iterable[bytes]) -> list[Facts]:
    """What is known of image files that `images.decode` reads, as Python's values; damaged ones are passed over."""
    found = []
    for content in contents:
        if content.startswith(b"\xff\xd8"):  # a JPEG is neither transparent nor deep
            found.append(Facts(False, 0, -1))
            continue
        try:
            facts = decode_with_facts(tf.constant(content), 3)[1]
        except tf.errors.InvalidArgumentError:
            continue  # said where the image is needed
        found.append(Facts(bool(facts.transparent), int(facts.low), int(facts.high)))
    return found


def refuse_dark(name: str, bounds: Iterable[tuple[int, int]], rendering: Rendering) -> None:
    """Refuses 16-bit images that fill less than half of their range, unless a range was given.

    Args:
        name: of the data.
        bounds: lowest and highest value of each image; the highest is -1 of those that are not of 16 bits.
        rendering: says whether a range was given.

    Raises:
        InputError: says which range is likely.
    """
    deep = [pair for pair in bounds if pair[1] >= 0]
    if not deep or rendering.bounds is not None:
        return
    low, high = min(low for low, _ in deep), max(high for _, high in deep)
    whole = 2 ** high.bit_length() - 1
    if 0 < high - low <= DEEPEST // 2:
        likely = f"0,{whole}" if whole < DEEPEST else f"{low},{high}"
        raise InputError(
            f"`intensity_range` must be given for {name}: its 16-bit images have values from {low} to {high} of {DEEPEST}, "
            f"and would be dark or flat in 8 bits. Received: intensity_range=None. Give what becomes black and white, such "
            f"as {likely}; 0,{DEEPEST} keeps them as they are."
        )
