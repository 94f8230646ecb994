"""The `content_style` protocol: ReLIC's premise, tested where content and style are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.config.protocols.content_style import ContentStyleSettings
from tfcontrastive.evaluate.features import FeatureExtractor, input_shape
from tfcontrastive.evaluate.linear_lbfgs import fit_linear
from tfcontrastive.evaluate.metrics import top_k_accuracy
from tfcontrastive.evaluate.shapes import CONTENT, STYLE, draw_factors, draw_shapes

_TRAIN, _TEST, _CONTENTS = 0, 1, 2  # what is drawn, as a part of its seed


@dataclasses.dataclass(frozen=True)
class ContentStyle(ContentStyleSettings):
    """ReLIC's premise on generated images: linear probes of content and of style, divergence of p(Y|f(x)) across styles.

    Each image shows one shape. Content is its shape, size and position; style is its color, texture and background. The
    images are generated and need no data set.

    - `content_style_<factor>_accuracy`: of a linear probe of each factor on held-out images.
    - `content_style_divergence_<Y>`: contents are drawn, each is shown in several random styles with all else equal, and
      the probe's p(Y | f(x)) is compared, for Y the shape, size or position: the Jensen-Shannon divergence
      H(mean_s p_s) - mean_s H(p_s) in nats, the mean over the contents; 0 where no style makes a difference.
    - `content_style_divergence_of_contents_<Y>`: the same between different contents in one style, to compare with.

    The first value, `content_style_divergence`, is the mean over the three Y.

    Examples:
        >>> ContentStyle(train_images=3000).run(encoder)
        {'content_style_divergence': ..., 'content_style_shape_accuracy': ..., ...}

    Source: the invariance p^do(s)(Y|f(X)) that ReLIC asks for, Mitrovic et al., https://arxiv.org/abs/2010.07922,
    section 2. The images and this measure are ours.
    """

    def run(self, encoder: Callable[..., tf.Tensor], source: data.Source | None = None) -> dict[str, float]:
        shape = input_shape(encoder) or (None, None, None, 3)
        size, channels = self.image_size or shape[1] or 64, shape[3] or 3
        if channels not in (1, 3):
            raise InputError(f"`encoder` must take images of 1 or 3 channels. Received: {channels}.")
        extract = FeatureExtractor(encoder)

        def features(factors, seed):
            return extract(self._batches(factors, size, channels, seed))[0]

        names = CONTENT | STYLE
        train = draw_factors(self.train_images, names, seed=[self.seed, _TRAIN])
        test = draw_factors(self.eval_images, names, seed=[self.seed, _TEST])
        train_features, test_features = features(train, _TRAIN), features(test, _TEST)
        probes = {
            name: fit_linear(train_features, train[name], num_classes=count, seed=self.seed)
            for name, count in names.items()
        }
        of_styles, of_contents = self._divergences(probes, features)
        values = {"content_style_divergence": float(np.mean(list(of_styles.values())))}
        for name, probe in probes.items():
            values[f"content_style_{name}_accuracy"] = top_k_accuracy(probe.scores(test_features), test[name])
        values |= {f"content_style_divergence_{name}": value for name, value in of_styles.items()}
        return values | {f"content_style_divergence_of_contents_{name}": value for name, value in of_contents.items()}

    def _divergences(self, probes, features) -> tuple[dict[str, float], dict[str, float]]:
        """For each content factor the divergence between styles of a content, and between contents in a style."""
        content = draw_factors(self.contents, CONTENT, seed=[self.seed, _CONTENTS])
        shown = [
            features(content | draw_factors(self.contents, STYLE, seed=[self.seed, _CONTENTS, style]), _CONTENTS)
            for style in range(1, self.styles + 1)
        ]
        of_styles, of_contents = {}, {}
        for name in CONTENT:
            p = np.stack([softmax(probes[name].scores(one)) for one in shown])  # [styles, contents, values]
            of_styles[name] = float(np.mean(jensen_shannon(p)))
            # As many contents at a time as there are styles, so that the two can be compared.
            groups = [p[0, at : at + self.styles] for at in range(0, self.contents - 1, self.styles)]
            of_contents[name] = float(np.mean([jensen_shannon(group) for group in groups if len(group) > 1]))
        return of_styles, of_contents

    def _batches(self, factors, size: int, channels: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
        count = len(factors["shape"])
        for start in range(0, count, self.eval_batch_size):
            some = {name: values[start : start + self.eval_batch_size] for name, values in factors.items()}
            images = draw_shapes(some, size, seed=[self.seed, seed, start]).images
            if channels == 1:
                images = tf.image.rgb_to_grayscale(images)
            yield {"image": images, "label": some["shape"]}


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True), dtype=np.float64)
    return scores / scores.sum(axis=-1, keepdims=True)


def jensen_shannon(p: np.ndarray) -> np.ndarray:
    """H(mean_s p_s) - mean_s H(p_s), in nats, of distributions `[S, ..., C]` over their first axis: `[...]`.

    Examples:
        >>> round(float(jensen_shannon(np.eye(2))), 4)   # log 2: nothing in common
        0.6931
    """

    def entropy(q):
        return -np.sum(np.where(q > 0, q * np.log(np.where(q > 0, q, 1)), 0), axis=-1)

    return entropy(p.mean(axis=0)) - entropy(p).mean(axis=0)
