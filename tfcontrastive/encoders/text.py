"""A transformer of texts: strings in, vectors out, the vocabulary inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfcontrastive.config import InputError, unknown
from tfcontrastive.encoders.text_layers import MaskedMean, TextTokens

POOLS = ("mean", "token")
SPLITS = ("words", "characters")
_SPECIAL = 2  # padding, and what is not in the vocabulary


def standardize(texts: tf.Tensor) -> tf.Tensor:
    """Lower case, of any script, with one space for whatever is neither letter, mark nor digit.

    Examples:
        >>> standardize(tf.constant(["A well-known CAFÉ!"])).numpy()[0].decode()
        'a well known café '
    """
    return tf.strings.regex_replace(tf.strings.lower(texts, encoding="utf-8"), r"[^\pL\pM\pN]+", " ")


@keras.saving.register_keras_serializable("tfcontrastive")
class TextEncoder(keras.Model):
    """Transformer of texts, strings `[B]` -> features `[B, D]`.

    A text is put in lower case, cut at whatever is neither letter, mark nor digit, and looked up in the vocabulary; what is
    not in it is one token of its own. Each of the blocks, on the tokens with learned places:

        x = x + attention(norm1(x)),    x = x + fc2(gelu(fc1(norm2(x)))),    fc1 four times as wide as x

    with dropout of the tokens, of attention and of both branches. No token attends to padding, and the mean is of those
    that are none; an empty text has the vector 0 under it.

    The vocabulary is part of the network: of its configuration, of a `.keras` file and of an export.

    Args:
        vocabulary: the tokens, each once.
        width: D, a multiple of `num_heads`.
        depth: the number of blocks, >= 1.
        num_heads: of the attention.
        sequence_length: tokens of a text; what is beyond them is left out, and shorter texts are padded.
        dropout: in [0, 1).
        pool: what becomes the feature, after the last normalisation: "mean" of the tokens, or "token", a learned one that
            stands first.
        split: "words", or "characters", for scripts that put no spaces between words.
        dtype: a Keras dtype policy, the global one if None. Features are at least float32 under each.
        name: of the model.

    Raises:
        InputError: a value outside its range, or a vocabulary with a token twice.

    Examples:
        >>> encoder = TextEncoder.of_texts(["a photo of a shirt", "a photo of a shoe"], width=16, depth=1)
        >>> encoder(tf.constant(["a red shoe"])).shape
        TensorShape([1, 16])

    Source: Vaswani et al., arXiv 1706.03762; normalisation before each branch: Xiong et al., arXiv 2002.04745.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        width: int = 128,
        depth: int = 2,
        num_heads: int = 4,
        sequence_length: int = 32,
        dropout: float = 0.1,
        pool: str = "mean",
        split: str = "words",
        dtype: Any = None,
        name: str = "text_encoder",
    ):
        config = {
            "vocabulary": list(vocabulary),
            "width": width,
            "depth": depth,
            "num_heads": num_heads,
            "sequence_length": sequence_length,
            "dropout": dropout,
            "pool": pool,
            "split": split,
            "dtype": keras.dtype_policies.get(dtype or keras.config.dtype_policy()).name,
            "name": name,
        }
        _check(config)
        texts = keras.Input((), dtype="string", name="texts")
        super().__init__(inputs=texts, outputs=_network(texts, config), name=name)
        self._config = config

    @classmethod
    def of_texts(
        cls, texts: Any, *, vocabulary_size: int = 20_000, split: str = "words", **options: Any
    ) -> TextEncoder:
        """An encoder whose vocabulary is the most frequent tokens of some texts.

        Args:
            texts: a list or array of strings, or a `tf.data.Dataset` of batches of them.
            vocabulary_size: tokens at most, >= 1.
            split: as above.
            **options: of `TextEncoder`.

        Raises:
            InputError: as the class, and texts without any token.
        """
        if not vocabulary_size >= 1:
            raise InputError(f"`vocabulary_size` must be >= 1. Received: vocabulary_size={vocabulary_size}.")
        counted = _vectorization(split, max_tokens=vocabulary_size + _SPECIAL)
        counted.adapt(texts if isinstance(texts, tf.data.Dataset) else np.asarray(texts, object))
        vocabulary = counted.get_vocabulary(include_special_tokens=False)
        return cls(vocabulary, split=split, **options)

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def _vectorization(split: str, **options: Any) -> layers.TextVectorization:
    if split not in SPLITS:
        raise InputError(f"`split` {unknown(split, SPLITS)}")
    unit = {"words": "whitespace", "characters": "character"}[split]
    return layers.TextVectorization(standardize=standardize, split=unit, name="vectorize", **options)


def _network(texts: Any, config: dict[str, Any]) -> Any:
    width, dtype, rate = config["width"], config["dtype"], config["dropout"]

    def norm(name):
        return layers.LayerNormalization(epsilon=1e-6, name=name, dtype=dtype)

    def dropped(x, name):
        return layers.Dropout(rate, name=name, dtype=dtype)(x)

    vocabulary = config["vocabulary"]
    ids = _vectorization(config["split"], vocabulary=vocabulary, output_sequence_length=config["sequence_length"])(
        texts
    )
    first = config["pool"] == "token"
    x, counts = TextTokens(len(vocabulary) + _SPECIAL, width, class_token=first, name="tokens", dtype=dtype)(ids)
    mask = keras.ops.expand_dims(counts, 1)
    x = dropped(x, "tokens_dropout")
    for index in range(config["depth"]):
        block = f"block{index + 1}"
        attention = layers.MultiHeadAttention(
            config["num_heads"], width // config["num_heads"], dropout=rate, name=f"{block}_attention", dtype=dtype
        )
        y = norm(f"{block}_norm1")(x)
        y = dropped(attention(y, y, attention_mask=mask), f"{block}_dropout1")
        x = layers.Add(name=f"{block}_mid", dtype=dtype)([x, y])
        y = layers.Dense(4 * width, activation="gelu", name=f"{block}_fc1", dtype=dtype)(norm(f"{block}_norm2")(x))
        y = dropped(layers.Dense(width, name=f"{block}_fc2", dtype=dtype)(y), f"{block}_dropout2")
        x = layers.Add(name=block, dtype=dtype)([x, y])
    x = norm("norm")(x[:, 0]) if first else MaskedMean(name="pool", dtype=dtype)(norm("norm")(x), counts)
    final = "float64" if dtype == "float64" else "float32"
    return layers.Activation("linear", name="features", dtype=final)(x)


def _check(config: dict[str, Any]) -> None:
    for key in ("width", "depth", "num_heads", "sequence_length"):
        if not config[key] >= 1:
            raise InputError(f"`{key}` must be >= 1. Received: {key}={config[key]}.")
    if config["width"] % config["num_heads"]:
        raise InputError(
            f"`width` must be a multiple of num_heads, {config['num_heads']}. Received: width={config['width']}."
        )
    if not 0 <= config["dropout"] < 1:
        raise InputError(f"`dropout` must lie in [0, 1). Received: dropout={config['dropout']}.")
    if config["pool"] not in POOLS:
        raise InputError(f"`pool` {unknown(config['pool'], POOLS)}")
    vocabulary = config["vocabulary"]
    if not vocabulary or len(set(vocabulary)) < len(vocabulary):
        raise InputError(
            "`vocabulary` must hold one token or more, each once. "
            f"Received: {len(vocabulary)} tokens, {len(set(vocabulary))} different ones."
        )
    found = [token.decode() for token in tf.strings.strip(standardize(tf.constant(vocabulary))).numpy()]
    lost = [token for token, cut in zip(vocabulary, found, strict=True) if token != cut or not token or " " in token]
    if lost:
        raise InputError(
            "`vocabulary` must hold tokens as texts are cut to, in lower case, of letters, marks and digits. "
            f"Received: {len(lost)} that no text has, such as {lost[0]!r}."
        )
