"""A part of a source, for one of many machines."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfcontrastive.config import InputError

if TYPE_CHECKING:
    from tfcontrastive.export.items import Items


class ItemsShard:
    """The items of shard i of n: whole batches, one after the other, so that n shards in their order are the source.

        start(i) = size * floor(i * batches / n),     batches = ceil(total / size)

    Args:
        items: the source.
        index: which shard, from 0.
        count: how many there are.
        total: items of the source.
        batch_size: items a batch.

    Raises:
        InputError: an index that is none of 0 to `count - 1`, or batches of nothing.

    Examples:
        >>> numbers = lambda start: ((str(i), b"") for i in range(start, 10))
        >>> shards = [ItemsShard(numbers, i, 3, total=10, batch_size=2) for i in range(3)]
        >>> [[name for name, _ in shard(0)] for shard in shards]
        [['0', '1'], ['2', '3', '4', '5'], ['6', '7', '8', '9']]
    """

    def __init__(self, items: Items, index: int, count: int, *, total: int, batch_size: int):
        if count < 1 or not 0 <= index < count:
            raise InputError(f"`shard` must be i/n with i from 0 to n - 1, such as 0/4. Received: {index}/{count}.")
        if batch_size < 1:
            raise InputError(f"`batch_size` must be >= 1. Received: batch_size={batch_size}.")
        batches = -(-total // batch_size)
        self._items = items
        self._start = min(total, batch_size * (index * batches // count))
        self._end = min(total, batch_size * ((index + 1) * batches // count))
        self.fingerprint = getattr(items, "fingerprint", None)
        self.stamps = getattr(items, "stamps", None)
        self.labels = getattr(items, "labels", None)
        self.shard = {"index": index, "count": count, "start": self._start, "end": self._end, "total": total}

    def __len__(self) -> int:
        return self._end - self._start

    def __call__(self, start: int) -> Iterator[tuple]:
        return itertools.islice(self._items(self._start + start), max(0, len(self) - start))


def parse_shard(text: str) -> tuple[int, int]:
    """`0/4` as (0, 4).

    Raises:
        InputError: it is not two whole numbers, or the first is not less than the second.
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not found or not int(found[1]) < int(found[2]):
        raise InputError(f"`shard` must be i/n with i from 0 to n - 1, such as 0/4. Received: shard={text!r}.")
    return int(found[1]), int(found[2])
