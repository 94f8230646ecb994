"""The `geometry` protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfcontrastive import augment, data, losses
from tfcontrastive.config.protocols.geometry import FeatureGeometrySettings
from tfcontrastive.evaluate.evaluator import FeatureEvaluator, default_image_size, held_out_split
from tfcontrastive.evaluate.features import FeatureExtractor, projected, taken_by
from tfcontrastive.evaluate.geometry_metrics import class_separation, effective_rank


@dataclasses.dataclass(frozen=True)
class FeatureGeometry(FeatureGeometrySettings, FeatureEvaluator):
    """How features and projections lie on the sphere: alignment, uniformity, rank, InfoNCE bound, class separation.

    Measured on the held-out split, of the features and, where the encoder came with a projection head, of what it makes
    of them (`geometry_projection_...`): on two random views of each image

    - alignment, mean |z1 - z2|^2, and uniformity, log mean exp(-2 |z_i - z_j|^2), of unit-length rows;
    - the InfoNCE bound on the mutual information of the views, log(2B - 1) - L, in nats, with L the NT-Xent loss over
      batches of B images;

    and on the images as they are

    - the effective rank and the standard deviation of the unit-length rows;
    - class separation (with labels), 1 - mean distance within classes / mean distance overall.

    Examples:
        >>> FeatureGeometry().run(encoder, tfcontrastive.data.load("embedded"))
        {'geometry_alignment': ..., 'geometry_uniformity': ..., ...}

    Sources: Wang and Isola, https://arxiv.org/abs/2005.10242; Garrido et al., https://arxiv.org/abs/2210.02885;
    Kornblith et al., https://arxiv.org/abs/2010.16402, section 3.3.
    """

    def run(self, encoder: Callable[..., tf.Tensor], source: data.Source) -> dict[str, float]:
        source = taken_by(encoder, source)
        split = self.eval_split or held_out_split(source) if source.num_classes else self._only_split(source)
        size = self.image_size or default_image_size(encoder, source, split)
        extract = FeatureExtractor(encoder)
        batches = data.eval_batches(
            source,
            split,
            batch_size=self.eval_batch_size,
            image_size=size,
            preprocessing=data.Preprocessing.of(encoder),
        )
        features, labels = extract(batches)
        batch = min(self.eval_batch_size, len(features))
        views = self._views(source, split, size, batch, steps=len(features) // batch)
        z1, z2 = (extract(view)[0] for view in views)
        values: dict[str, float] = {}
        head = getattr(encoder, "projection_head", None)
        for prefix, of in (("", lambda rows: rows), ("projection_", lambda rows: projected(head, rows))):
            if prefix and head is None:
                continue
            measured = self._measure(of(z1), of(z2), of(features), labels, batch)
            values |= {f"geometry_{prefix}{name}": float(value) for name, value in measured.items()}
        return values

    def _only_split(self, source: data.Source) -> str:
        if self.eval_split is not None:
            return self.eval_split
        usual = ("test", "validation", "valid", "val", "dev")
        return next((name for name in usual if name in source.splits), source.splits[0])

    def _views(self, source, split, size, batch, steps):
        """The two views of the split's images, each image once, as two datasets in the same order."""
        policy = augment.policy(self.augmentation)
        pairs = data.train_batches(
            source, split, batch_size=batch, image_size=size, geometry=policy.geometry, seed=self.seed
        ).take(steps)

        def of(number):
            view = policy.views[number]
            return lambda one: {"image": view(one["views"][number], one["seeds"][:, number]), "label": one["label"]}

        return [pairs.map(of(number)) for number in range(2)]

    def _measure(self, z1, z2, rows, labels, batch) -> dict[str, float | tf.Tensor]:
        u1, u2 = (tf.math.l2_normalize(z, axis=1) for z in (z1, z2))
        starts = range(0, len(z1) - batch + 1, batch)
        parts = [(u1[at : at + batch], u2[at : at + batch]) for at in starts]
        loss = np.mean([losses.nt_xent(*pair, temperature=self.temperature, gather=False) for pair in parts])
        values = {
            "alignment": losses.alignment(u1, u2),
            "uniformity": losses.uniformity(u1),
            "infonce_bound": losses.infonce_bound(loss, 2 * batch - 1),
            "effective_rank": effective_rank(rows),
            "std": losses.embedding_std(rows),
        }
        if (labels >= 0).all() and len(np.unique(labels)) > 1:
            values["class_separation"] = class_separation(rows, labels)
        return values
