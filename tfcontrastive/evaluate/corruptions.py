"""ImageNet-C's corruptions of images, by the library `imagecorruptions`, each image with a seed of its own."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator

import numpy as np

from tfcontrastive.config import InputError, unknown

KINDS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
CORRUPTIONS = tuple(name for names in KINDS.values() for name in names)
SEVERITIES = (1, 2, 3, 4, 5)

_SMALLEST = 32  # pixels a side, of what the library takes
_SEEDED = ("impulse_noise", "glass_blur")  # take their seed as an argument; the others draw from numpy's global state


def corrupt(images: np.ndarray, name: str, severity: int, *, seed: int = 0, first: int = 0) -> np.ndarray:
    """Images as one of ImageNet-C's corruptions leaves them.

    The severities are those of ImageNet-C at 224 pixels; images of other sizes get the same ones, which on small images
    are hard. (CIFAR-10-C, with milder ones, is the data set `cifar10_corrupted` of tensorflow-datasets.) Images below 32
    pixels are mirrored at their edges up to 32 first; gray ones are corrupted in colour and averaged.

    Args:
        images: uint8 `[N, H, W, C]`, C 1 or 3.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: of the noise; an image's own depends on this, the name, the severity and its number alone.
        first: the number of the first image.

    Returns:
        uint8 `[N, H, W, C]`.

    Raises:
        InputError: an unknown name or severity, another type or shape, or the library is not installed.

    Examples:
        >>> corrupt(np.zeros([2, 32, 32, 3], np.uint8), "fog", severity=3).shape
        (2, 32, 32, 3)

    Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
    https://arxiv.org/abs/1903.12261; library: Michaelis et al., https://arxiv.org/abs/1907.07484.
    """
    if name not in CORRUPTIONS:
        raise InputError(f"`name` {unknown(name, CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise InputError(f"`severity` must be 1, 2, 3, 4 or 5. Received: severity={severity!r}.")
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise InputError(
            f"`images` must be uint8 [N, H, W, 1 or 3]. Received: {images.dtype} of shape {list(images.shape)}."
        )
    library = _library()
    height, width, channels = images.shape[1:]
    tall, wide = max(0, _SMALLEST - height), max(0, _SMALLEST - width)
    result = np.empty_like(images)
    for row, image in enumerate(images):
        image = np.pad(image, [(tall // 2, tall - tall // 2), (wide // 2, wide - wide // 2), (0, 0)], mode="symmetric")
        key = [seed, zlib.crc32(name.encode()), severity, first + row]
        own = int(np.random.SeedSequence(key).generate_state(1)[0])
        options = {"seed": own} if name in _SEEDED else {}
        with _numpy_seed(own):
            image = library.corrupt(np.repeat(image, 3 // channels, axis=-1), severity, name, **options)
        image = image[tall // 2 :, wide // 2 :][:height, :width]
        result[row] = image if channels == 3 else np.round(image.mean(axis=-1, keepdims=True))
    return result


@contextlib.contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """Seeds numpy's global generator, from which the library draws, and puts it back as it was."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _library():
    try:
        import imagecorruptions
    except ImportError as error:
        raise InputError(
            f"corruptions need the library imagecorruptions: pip install tfcontrastive[robustness]. Received: {error}."
        ) from error
    return imagecorruptions
