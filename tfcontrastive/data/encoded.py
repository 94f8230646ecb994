"""What the sources of encoded images (files and records) have in common."""

from __future__ import annotations

import abc
import copy
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive.config import InputError
from tfcontrastive.data.depth import facts_of, refuse_dark
from tfcontrastive.data.images import decode, reason
from tfcontrastive.data.pipeline import PARALLEL_EXAMPLES
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.source import Source
from tfcontrastive.data.transcode import native

SHUFFLE_BYTES = 2**28  # of encoded images in a shuffle buffer
_MEMORY_LIMIT = 2**30  # bytes of decoded images that are held without being asked
_LOOKED_AT = 64  # images, of those that are not checked one by one


class EncodedSource(Source):
    """Images that are decoded as they are needed, or once if they are small and of one size.

    Args:
        cache: whether to hold the decoded images in memory; None decides by their size.
        rendering: of transparent and of 16-bit images; None: on white, and refused if 16 bits would come out dark.

    Attributes:
        decodes: whether its images become as many channels as are asked for; else their description fixes these.
    """

    decodes = False

    def __init__(self, cache: bool | None, rendering: Rendering | None = None):
        self._cache = cache
        self.rendering = rendering or Rendering()
        self._versions: dict[tuple[int, Rendering], EncodedSource] = {}
        self._depth_is_known = False
        self._is_local = True  # else a TPU's own host may read the files, and it has no Python
        self._held: dict[str, tuple[np.ndarray, np.ndarray | None] | None] = {}

    @abc.abstractmethod
    def references(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        """As `Source.references`, which images that are decoded as they are needed all have."""

    @abc.abstractmethod
    def image_shape(self, split: str) -> tuple[int, int, int] | None:
        """(H, W, C) that all images may have, from what is cheap to know: a description, or the first image."""

    def content(self, reference: tf.Tensor) -> tf.Tensor:
        """The bytes of the image file that a reference stands for."""
        return reference

    def read(self, reference: tf.Tensor) -> tf.Tensor:
        """The same as `images.decode` reads them: what TensorFlow cannot read has become a PNG."""
        content = self.content(reference)
        return native(content) if self._is_local else content

    def decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """What `read` gave as uint8 `[H, W, channels]`."""
        return decode(encoded, self.channels, self.rendering)

    def rendered(self, rendering: Rendering) -> Source:
        return self._version(self.channels, rendering)

    def decoded_to(self, channels: int) -> Source:
        if not self.decodes or channels not in (1, 3, 4):
            return self
        return self._version(channels, self.rendering)

    def _version(self, channels: int, rendering: Rendering) -> EncodedSource:
        """The same images decoded in another way."""
        if (channels, rendering) == (self.channels, self.rendering):
            return self
        if (channels, rendering) not in self._versions:
            other = copy.copy(self)
            other.channels, other.rendering, other._held, other._versions = channels, rendering, {}, {}
            other._depth_is_known = self._depth_is_known and rendering == self.rendering
            self._versions[channels, rendering] = other
            if channels != self.channels:
                logging.info("%s: images are decoded to %d channels, not %d.", self.name, channels, self.channels)
        return self._versions[channels, rendering]

    def look(self, split: str) -> None:
        if self._depth_is_known:
            return
        files = self.references(split).take(_LOOKED_AT).map(lambda reference, _: self.read(reference))
        facts = facts_of(files.ignore_errors().as_numpy_iterator())
        self.require_readable_depth([(one.low, one.high) for one in facts])
        transparent = sum(one.transparent for one in facts)
        if transparent and self.channels != 4:
            count, color = len(facts), self.rendering.background_color
            logging.info(
                "%s: %d of %d first images are transparent: they lie on %s.", self.name, transparent, count, color
            )

    def require_readable_depth(self, bounds: Iterable[tuple[int, int]]) -> None:
        """As `depth.refuse_dark`, with what this source knows."""
        self._depth_is_known = True
        refuse_dark(self.name, bounds, self.rendering)

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray | None] | None:
        if split not in self._held:
            self._held[split] = self._decode_all(split)
        return self._held[split]

    def held(self, split: str) -> tuple[np.ndarray, np.ndarray | None] | None:
        """As `arrays`, of what is in memory already: nothing is decoded."""
        return self._held.get(split)

    def _decode_all(self, split: str) -> tuple[np.ndarray, np.ndarray | None] | None:
        count, shape = self.num_examples(split), self.image_shape(split)
        if self._cache is False:
            return None
        if shape is None or (self._cache is None and count * np.prod(shape) > _MEMORY_LIMIT):
            self._not_held()
            return None
        images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.int32)
        filled = 0
        try:
            for some, some_labels, fit in self._decoded(split, shape).as_numpy_iterator():
                if not fit.all():
                    self._not_held()
                    return None
                rows = slice(filled, filled + len(fit))
                images[rows], labels[rows] = some, some_labels
                filled += len(fit)
        except tf.errors.InvalidArgumentError as error:
            raise InputError(
                f"{self.name}: an image cannot be decoded ({reason(error)}). `check` finds such files of a folder."
            ) from error
        self._check_labels(labels)
        images.flags.writeable = labels.flags.writeable = False
        logging.info("%s: %d images of %s held in memory.", self.name, count, split)
        return images, labels if self.num_classes else None

    def _decoded(self, split: str, shape: tuple[int, int, int]) -> tf.data.Dataset:
        """Batches of (images, labels, whether the image has the shape; if not, it is zeros)."""

        def decoded(reference, label):
            image = self.decode(self.read(reference))
            fits = tf.reduce_all(tf.shape(image) == shape)
            return tf.cond(fits, lambda: tf.ensure_shape(image, shape), lambda: tf.zeros(shape, tf.uint8)), label, fits

        return self.references(split).map(decoded, **PARALLEL_EXAMPLES).batch(256)

    def _not_held(self) -> None:
        if self._cache:
            raise InputError(f"`cache` needs images of one size. Received: cache=True for {self.name}.")

    def _check_labels(self, labels: np.ndarray) -> None:
        if self.num_classes and not (labels.min() >= -1 and labels.max() < self.num_classes):
            raise InputError(
                f"{self.name}: labels must be in 0..{self.num_classes - 1}, or -1 for none. "
                f"Received: {labels.min()}..{labels.max()}."
            )


def forget_global_seed() -> None:
    """Lets the orders of a traced tf.data function depend on their own seeds alone.

    tf.data mixes `tf.random.set_seed` into every seed. Inside a traced function this call sets the seed of that
    function only; outside one it does nothing.
    """
    if not tf.executing_eagerly():
        tf.compat.v1.set_random_seed(1)
