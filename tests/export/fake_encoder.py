"""An encoder without a network."""

import numpy as np


class FakeEncoder:
    """A vector for each item, other in another batch: so that batches that are cut otherwise are seen."""

    dim, facts = 3, {"name": "fake", "version": "1", "digest": "d" * 32, "preprocessing_hash": None}

    def __init__(self, path, output):
        pass

    def __call__(self, images):
        first = int(images[0])
        return [
            "is no image" if int(image) % 7 == 3 else np.float32([int(image), first, 70_000 if int(image) == 11 else 1])
            for image in images
        ]
