"""A set of embeddings that is to be held in memory, as a served index is, must fit there."""

from __future__ import annotations

from tfcontrastive.config import InputError
from tfcontrastive.export.embedding_files import EmbeddingFiles
from tfcontrastive.system.hardware import machine_memory


def require_memory(files: EmbeddingFiles, bytes_a_number: int, advice: str) -> None:
    """Raises InputError where the vectors of a set are larger than the memory that this process may use.

    Args:
        files: the set.
        bytes_a_number: in memory.
        advice: what to do then.
    """
    size, memory = len(files) * files.dim * bytes_a_number, machine_memory()
    if memory is not None and size > memory:
        raise InputError(
            f"`index` must fit in memory, {memory / 2**30:.1f} GiB here. Received: {files.path} with {len(files):,} x "
            f"{files.dim} numbers, {size / 2**30:.1f} GiB. {advice}"
        )
