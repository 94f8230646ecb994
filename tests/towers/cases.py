"""Tiny towers of other kinds, their batches, and the four losses once more, pair by pair."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcontrastive.towers import TwoTower, TwoTowerConfig

ROWS, WORDS = 6, 9

CONFIGS = {
    "clip": {"proj_out_dim": 4},
    "siglip": {"proj_out_dim": 4, "logit_bias": -2.0},
    "sim_cse": {"temperature": 0.5, "hard_negative_weight": 0.3},
    "dpr": {},
}
NEGATIVES = {"sim_cse": 1, "dpr": 2}  # hard ones a query


def numbers_tower(rate: float = 0.0) -> keras.Model:
    x = numbers = keras.Input((5,), name="numbers")
    x = layers.Dropout(rate)(layers.Dense(7, activation="tanh")(x))
    return keras.Model(numbers, layers.Dense(4)(x))


def words_tower(rate: float = 0.0) -> keras.Model:
    """Of a dictionary, with an embedding, whose gradient comes in rows, and statistics that move."""
    words, weight = keras.Input((3,), dtype="int32", name="words"), keras.Input((1,), name="weight")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(WORDS, 6)(words))
    x = layers.Dropout(rate)(layers.Concatenate()([x, weight]))
    return keras.Model({"words": words, "weight": weight}, layers.Dense(4)(x))


def make(
    loss: str, *, rate: float = 0.0, seed: int = 1, optimizer=None, eager: bool = True, micro: int = 0, **more
) -> TwoTower:
    keras.utils.set_random_seed(seed)
    config = TwoTowerConfig(loss, **{**CONFIGS[loss], **more})
    model = TwoTower(numbers_tower(rate), words_tower(rate), config, seed=3, micro_batch_size=micro, name="model")
    model.compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9), run_eagerly=eager)
    return model


def batch(loss: str, step: int = 0, rows: int = ROWS) -> dict:
    rng = np.random.default_rng(step)
    dtype = keras.config.floatx() if keras.config.dtype_policy().name != "float64" else "float64"

    def keys(*shape):
        return {
            "words": rng.integers(0, WORDS, (*shape, 3)).astype(np.int32),
            "weight": rng.normal(size=(*shape, 1)).astype(dtype),
        }

    made = {"query": rng.normal(size=(rows, 5)).astype(dtype), "key": keys(rows)}
    several = NEGATIVES.get(loss)
    if several:
        made["hard_negative"] = keys(rows) if several == 1 else keys(rows, several)
    return tf.nest.map_structure(tf.constant, made)


def batches(loss: str, steps: int) -> tf.data.Dataset:
    made = [batch(loss, step) for step in range(steps)]
    return tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(lambda *parts: tf.stack(parts), *made))


def train(model: TwoTower, loss: str, steps: range) -> list[float]:
    """The loss of each step, of a model that runs eagerly."""
    found = []
    for step in steps:
        model.reset_metrics()
        found.append(float(model.train_on_batch(batch(loss, step), return_dict=True)["loss"]))
    return found


def weights(model: TwoTower) -> list[np.ndarray]:
    return [np.asarray(variable) for variable in (*model.variables, *model.optimizer.variables)]


def compared(model: TwoTower, data: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, keys and hard negatives after the heads, in float64; not of unit length."""

    def head(encoder, layer, inputs):
        features = np.asarray(encoder(inputs, training=False), np.float64)
        if layer is None:
            return features
        out = features @ np.asarray(layer.kernel, np.float64)
        return np.tanh(out + np.asarray(layer.bias)) if model.settings.head == "tanh" else out

    hard = data.get("hard_negative")
    if hard is not None:
        hard = tf.nest.map_structure(lambda x, key: tf.reshape(x, [-1, *key.shape[1:]]), hard, data["key"])
        hard = head(model.key_encoder, model.key_head, hard)
    return (
        head(model.query_encoder, model.query_head, data["query"]),
        head(model.key_encoder, model.key_head, data["key"]),
        hard,
    )


def slow_loss(loss: str, q, k, hard, *, log_scale: float, bias: float = 0.0, weight: float = 0.0) -> float:
    """The paper's sums, one logit at a time."""

    def cosine(a, b):
        return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))

    scale, rows, total = float(np.exp(log_scale)), range(len(q)), 0.0
    if loss == "clip":
        for i in rows:
            for line in ([cosine(q[i], k[j]) for j in rows], [cosine(q[j], k[i]) for j in rows]):
                total -= np.log(np.exp(scale * line[i]) / sum(np.exp(scale * s) for s in line)) / 2
    elif loss == "siglip":
        for i in rows:
            for j in rows:
                logit = scale * cosine(q[i], k[j]) + bias
                total += np.log1p(np.exp(-logit if i == j else logit))
    elif loss == "sim_cse":
        for i in rows:
            others = sum(np.exp(scale * cosine(q[i], k[j])) for j in rows)
            others += sum(np.exp(scale * cosine(q[i], hard[j]) + weight * (i == j)) for j in rows)
            total -= np.log(np.exp(scale * cosine(q[i], k[i])) / others)
    else:
        for i in rows:
            every = sum(np.exp(scale * float(q[i] @ other)) for other in (*k, *hard))
            total -= np.log(np.exp(scale * float(q[i] @ k[i])) / every)
    return total / len(q)
