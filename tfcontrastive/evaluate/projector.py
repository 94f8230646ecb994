"""Files for TensorBoard's embedding projector."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.evaluate.checks import checked_features
from tfcontrastive.evaluate.thumbnails import sprite_sheet
from tfcontrastive.system.names import escaped

_SHEET_AT_MOST = 8192  # pixels a side; browsers take no larger texture
_TILE_AT_MOST = 64


def write_projector(
    log_dir: str | os.PathLike[str],
    embeddings: Mapping[str, np.ndarray],
    *,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    images: np.ndarray | None = None,
) -> str:
    """Writes embeddings so that TensorBoard's projector shows them, with classes and thumbnails.

    Besides `projector_config.pbtxt` the files are one `<name>.tsv` of features each, `metadata.tsv` and `sprite.png`.
    TensorBoard looks for the first in its `--logdir` and in each run under it (a folder with event files), so `log_dir`
    should be one of these, without TensorFlow checkpoints in it. A few thousand points are what a browser handles well.

    Args:
        log_dir: where to write; made when missing.
        embeddings: features by name, `[N, F]` float each, all of the same N examples.
        labels: `[N]` integers, shown as the points' class.
        class_names: names of the classes; the numbers when not given.
        images: `[N, H, W, C]` uint8, or float in [0, 1], shown as the points.

    Returns:
        The path of `projector_config.pbtxt`.

    Raises:
        InputError: for lengths that differ, features that are not finite, labels without a name.

    Examples:
        >>> write_projector("runs/logs", {"features": np.eye(8)}, labels=np.arange(8), images=np.zeros([8, 28, 28, 1]))
        'runs/logs/projector_config.pbtxt'
    """
    log_dir = os.fspath(log_dir)
    embeddings = {name: checked_features(f"embeddings[{name!r}]", value) for name, value in embeddings.items()}
    if not embeddings:
        raise InputError("`embeddings` must hold at least one array. Received: none.")
    count = len(next(iter(embeddings.values())))
    given = embeddings | {"labels": labels, "images": images}
    for name, value in given.items():
        if value is not None and len(value) != count:
            raise InputError(f"`{name}` must have one row for each of the {count} points. Received: {len(value)}.")

    tf.io.gfile.makedirs(log_dir)
    shared = []
    if labels is not None:
        _write(log_dir, "metadata.tsv", _metadata(labels, class_names))
        shared.append('metadata_path: "metadata.tsv"')
    if images is not None:
        size = max(1, min(_TILE_AT_MOST, max(images.shape[1:3]), _SHEET_AT_MOST // math.ceil(math.sqrt(count))))
        png = io.BytesIO()
        sprite_sheet(images, size).save(png, format="PNG")
        _write(log_dir, "sprite.png", png.getvalue())
        shared.append(f'sprite {{ image_path: "sprite.png" single_image_dim: {size} single_image_dim: {size} }}')
    blocks = []
    for number, (name, features) in enumerate(embeddings.items()):
        file = f"embedding_{number}.tsv"
        table = io.StringIO()
        np.savetxt(table, features, fmt="%.6g", delimiter="\t")
        _write(log_dir, file, table.getvalue())
        # A JSON string is a valid text-format string.
        lines = [f"tensor_name: {json.dumps(name, ensure_ascii=False)}", f'tensor_path: "{file}"', *shared]
        blocks.append("embeddings {\n" + "".join(f"  {line}\n" for line in lines) + "}\n")
    return _write(log_dir, "projector_config.pbtxt", "".join(blocks))


def _metadata(labels: np.ndarray, class_names: Sequence[str] | None) -> str:
    labels = np.asarray(labels)
    if class_names is not None and (labels.min() < 0 or labels.max() >= len(class_names)):
        raise InputError(f"`labels` must lie in [0, {len(class_names)}), as `class_names`. Received: {labels.max()}.")
    names = [str(label) if class_names is None else escaped(" ".join(class_names[label].split())) for label in labels]
    # A header line only counts as one when there are two columns or more.
    return "class\tindex\n" + "".join(f"{name}\t{index}\n" for index, name in enumerate(names))


def _write(folder: str, name: str, content: str | bytes) -> str:
    path = os.path.join(folder, name)
    storage.write(path, content)
    return path
