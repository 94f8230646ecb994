"""What a classifier said of each test image, as it is kept beside the numbers."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import numpy as np

from tfcontrastive.report.classification import classification_sections
from tfcontrastive.report.page import Section


@dataclasses.dataclass(frozen=True)
class Details:
    """Predictions, and the pictures of the most confident mistakes.

    Args:
        labels: `[M]` true classes, integers.
        classes: `[M]` the ones that were named.
        confidences: `[M]` their probabilities.
        class_names: names of the classes; None where not known.
        train_counts: `[C]` training images of each class; None where not known.
        rows: `[n]` images of which there are pictures.
        pictures: `[n, H, W, C]`, uint8 or float in [0, 1].
    """

    labels: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray
    class_names: Sequence[str] | None = None
    train_counts: np.ndarray | None = None
    rows: np.ndarray | None = None
    pictures: np.ndarray | None = None

    def sections(self, what: str = "") -> list[Section]:
        """By class, confusion, mistakes; `what` says whose they are."""
        picture = None
        if self.rows is not None and self.pictures is not None:
            known = dict(zip(np.asarray(self.rows).tolist(), self.pictures, strict=True))
            picture = known.get
        return classification_sections(
            self.labels,
            self.classes,
            self.confidences,
            picture,
            class_names=self.class_names,
            train_counts=self.train_counts,
            what=what,
        )

    def to_bytes(self) -> bytes:
        """An npz file of the fields that are known."""
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.class_names is not None:
            known["class_names"] = np.array([name.encode("utf-8", "surrogateescape") for name in self.class_names])
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: np.asarray(value) for name, value in known.items() if value is not None})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Details:
        """What `to_bytes` gave."""
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            known = {name: held[name] for name in held.files}
        if "class_names" in known:
            known["class_names"] = [name.decode("utf-8", "surrogateescape") for name in known["class_names"]]
        return cls(**known)
