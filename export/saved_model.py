"""One SavedModel for every consumer: `hub.KerasLayer`, `TFSMLayer`, `tf.saved_model.load` and TensorFlow Serving."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.data import Preprocessing
from tfcontrastive.encoders.whitening import heads_of
from tfcontrastive.export.checks import checked_images
from tfcontrastive.export.digest import digest_of_files
from tfcontrastive.export.embedding_files import EmbeddingFiles
from tfcontrastive.export.graph import assigning_signatures
from tfcontrastive.export.image_bytes import decode_images
from tfcontrastive.export.model_card import meta_graph, model_card, read_card, readme
from tfcontrastive.export.saved_index import SavedIndex, searches
from tfcontrastive.export.served_encoder import ServedEncoder, served_encoder
from tfcontrastive.export.versions import aside_in, publish
from tfcontrastive.export.warmup import write_warmup_requests
from tfcontrastive.pretrained.trained import ARCHITECTURE, CARD, versions_in

SALIENT = (
    "initial_conv",
    "initial_max_pool",
    "block_group1",
    "block_group2",
    "block_group3",
    "block_group4",
    "final_avg_pool",
)
"""Encoder layers whose outputs the `features` signature returns, where the encoder has them (SimCLR's names)."""

DEFAULT_IMAGE_SIZE = 224
SMALL_IMAGE_SIZE = 32


def save_model(
    model_or_encoder: keras.Model,
    base: str | os.PathLike,
    version: int | None = None,
    image_size: int | None = None,
    probe: keras.layers.Layer | None = None,
    *,
    head: keras.layers.Layer | None = None,
    optimize: bool | None = None,
    card: dict[str, Any] | None = None,
    preprocessing: Preprocessing | None = None,
    index: EmbeddingFiles | str | os.PathLike | None = None,
) -> str:
    """Writes the encoder as a SavedModel to `base/<version>/`, whole or not at all.

    `__call__(images, training=False)` of the loaded object runs the encoder alone, so that fine-tuning with
    `hub.KerasLayer(path, trainable=True)` leaves the projection head out; it takes half-precision images too, as that
    layer hands them on in mixed precision. The signatures are

    - `serving_default`: `images` float32 `[B, H, W, C]` in [0, 1] -> `embedding` `[B, F]`, and `embedding_l2`, the same
      at unit length;
    - `image_bytes`: encoded JPEG, PNG, GIF, BMP or WebP files `[B]` -> the same; decoding and the evaluation preprocessing
      are part of the graph (only for 1, 3 and 4 channels and square images);
    - `features`: `images` -> every salient tensor, the projection head's input and output, the probe's logits;
    - `serve_training`: as `serving_default`, in training mode, for `TFSMLayer(call_training_endpoint=...)`: batch
      normalisation uses the batch's own statistics;
    - `nearest` and `nearest_bytes`, with an `index`: `images` or `image_bytes`, and `k` -> `ids`, `similarities` and
      `labels` `[B, k]` of the k nearest rows of the index, see `SavedIndex`.

    No signature changes a variable: whatever one client asks for, all others get the vectors of the exported weights.
    The moving statistics follow fine-tuning through `__call__(images, training=True)`. XLA compiles all signatures but
    `image_bytes`, whose decoders it does not know: `tf.function(signature, jit_compile=True)`; checks do nothing there.

    All outputs are float32. A server that watches `base` never sees half a model: it is written aside and renamed.

    Args:
        model_or_encoder: a `ContrastiveModel` or any built `keras.Model` `[B, H, W, C]` -> `[B, F]`.
        base: the directory that holds the versions.
        version: a whole number from 0 to 2^63 - 1. None takes the number after the highest in `base`, from 1; of several
            exports at one time, each gets its own.
        image_size: height and width in pixels that `image_bytes` resizes to. None takes the encoder's own size; if it
            takes any, 32 for a ResNet with the stem for small images, else 224.
        probe: a layer `[B, F]` -> `[B, classes]` for `logits_sup`. None takes `model.probe` if there is one.
        head: the projection head, `[B, F]` -> `[B, D]`. None takes `model.projection_head` if there is one. Neither is taken
            of a model whose features are whitened, which its heads were not trained on.
        optimize: `serving_default` and `image_bytes` run the encoder with batch normalisation folded into the
            convolutions (see `fold_batch_norm`), and its weights as constants. They then keep the weights of the export
            even where a loaded copy is fine-tuned through `__call__`, which runs the encoder itself, as `features` and
            `serve_training` do; the files hold both. None does so where there is something to fold; False for files of
            half the size, or signatures that follow fine-tuning.
        card: more facts for `model_card.json` (recipe, data, metrics, ...), JSON values.
        preprocessing: of the encoder, kept with the model; `image_bytes` crops and resizes by it. None takes SimCLR's.
        index: a set of embeddings that this very encoder made, or its directory, to be searched in the model.

    Returns:
        The path `base/<version>`.

    Raises:
        InputError: if the version exists, the encoder is not built or does not map images to vectors, the size does
            not fit, `optimize` is asked for and the encoder is not functional, or the index is another encoder's.

    Examples:
        >>> path = save_model(model, "new_export")
        >>> path
        'new_export/1'
        >>> tf.saved_model.load(path)(images, training=False).shape[0] == len(images)
        True
    """
    encoder = getattr(model_or_encoder, "encoder", model_or_encoder)
    height, width, channels = _image_shape(encoder)
    small = _settings(encoder).get("stem") == "small"
    size = _image_size(image_size, height, width, default=SMALL_IMAGE_SIZE if small else DEFAULT_IMAGE_SIZE)
    own_head, own_probe = heads_of(model_or_encoder)
    probe = probe if probe is not None else own_probe
    head = head if head is not None else own_head
    rule = preprocessing or Preprocessing()
    images = tf.TensorSpec([None, height, width, channels], tf.float32, name="images")
    searched = None if index is None else SavedIndex(index)
    served = served_encoder(encoder, optimize)
    servable = _Servable(encoder, head, probe, served, images, searched)
    signatures = servable.signatures(images, size, rule)

    with aside_in(base, version) as aside:
        tf.saved_model.save(servable, aside, signatures=signatures)
        assigning = assigning_signatures(meta_graph(aside))
        if assigning:
            raise InputError(
                "`model_or_encoder` must hold its state in Keras variables (`add_weight`), as no signature may "
                f"change the model that it serves. Received: {assigning}."
            )
        more = {"optimized": served is not None, **(card or {})}
        facts = model_card(model_or_encoder, encoder, aside, size, more, rule)
        facts["digest"] = digest_of_files(aside, facts["preprocessing"]["hash"])
        if searched is not None:
            searched.require_model(facts["digest"])
            facts["index"] = searched.facts
        write_warmup_requests(aside, size, channels, tuple(signatures))
        _write_architecture(encoder, os.path.join(aside, ARCHITECTURE))
        storage.write(os.path.join(aside, CARD), json.dumps(facts, indent=2, default=str) + "\n")
        storage.write(os.path.join(aside, "README.md"), readme(facts))
        return publish(aside, base, version)


def save_once(model: keras.Model, base: str | os.PathLike, *, card: dict[str, Any], **options: Any) -> str:
    """As `save_model`, but a finished run that is started again keeps its newest version.

    One that went on, to another `step` or with another `recipe` than the version's card says, gets the next version.
    """
    base = os.fspath(base)
    versions = versions_in(base)
    if versions:
        path = os.path.join(base, versions[-1])
        kept = read_card(path)
        if all(kept.get(name) == card[name] for name in ("step", "recipe")):
            return path
    return save_model(model, base, card=card, **options)


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What is run. A plain object, as TensorFlow does not look into one: in a module, it would save the Keras variables of
    these beside the lists below, every weight twice."""

    encoder: keras.Model
    head: keras.layers.Layer | None
    probe: keras.layers.Layer | None
    salient: Callable


class _Servable(tf.Module):
    """What is saved. The three lists are plain attributes because `hub.KerasLayer` looks for them by name:
    `tf.Module`'s own properties of these names are not part of a SavedModel, and cannot be assigned."""

    variables = None
    trainable_variables = None
    regularization_losses = None

    def __init__(
        self,
        encoder: keras.Model,
        head: keras.layers.Layer | None,
        probe: keras.layers.Layer | None,
        served: ServedEncoder | None,
        images: tf.TensorSpec,
        index: SavedIndex | None = None,
    ):
        super().__init__(name="encoder")
        self._parts = _Parts(encoder, head, probe, _salient_model(encoder))

        def inference(images):
            return self._features(images)

        # One trace for all that runs the encoder alone, as it stands: tracing is what an export takes its time for.
        self._inference = tf.function(_without_assignments(inference), input_signature=[images])
        self._served = self._inference
        if served is not None:
            self._served = tf.function(lambda images: tf.cast(served(images), tf.float32), input_signature=[images])
        self.variables = [variable.value for variable in encoder.variables]
        self.trainable_variables = [variable.value for variable in encoder.trainable_variables]
        self.regularization_losses = [_penalty(v) for v in encoder.trainable_variables if v.regularizer is not None]
        # Only variables in a plain list are restored in a C++ session.
        parts = [part for part in (head, probe) if part is not None]
        self.other_variables = [v.value for part in parts for v in part.variables]
        self.other_variables += served.variables if served is not None else []
        self._index = index  # not `index`: a module is saved with its variables, which are in the list already
        self.other_variables += index.held if index else []
        self.resources = resources_of([encoder, *parts], known=[*self.variables, *self.other_variables])

    @tf.function
    def __call__(self, inputs, training=False):
        if inputs.dtype != tf.float32:  # hub.KerasLayer under mixed precision
            return self(tf.cast(inputs, tf.float32), training)
        return self._features(inputs, training=True) if training else self._inference(inputs)

    def _features(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.cast(self._parts.encoder(images, training=training), tf.float32)

    def signatures(self, images: tf.TensorSpec, size: int, rule: Preprocessing) -> dict[str, Callable]:
        """The functions to save, for images of this shape."""
        for training in (False, True):  # Only these two values of `training` have a trace in the SavedModel.
            output = self.__call__.get_concrete_function(images, training=training).structured_outputs
            for dtype in (tf.float16, tf.bfloat16):
                self.__call__.get_concrete_function(tf.TensorSpec(images.shape, dtype, images.name), training=training)
        if output.shape.rank != 2:
            raise InputError(
                f"`model_or_encoder` must map images [B, H, W, C] to vectors [B, F]. Received: an encoder "
                f"with output shape {output.shape}. Add a global pooling layer."
            )

        def serving_default(images):
            return _embeddings(self._served(checked_images(images)))

        def serve_training(images):
            return _embeddings(self._features(checked_images(images), training=True))

        def features(images):
            return self._all_features(checked_images(images))

        def image_bytes(image_bytes):
            decoded = decode_images(image_bytes, size=size, channels=images.shape[-1], preprocessing=rule)
            return _embeddings(self._served(decoded))

        # An input signature, not a concrete function: else variables made under a strategy cannot be saved.
        functions = {
            f.__name__: tf.function(_without_assignments(f), input_signature=[images])
            for f in (serving_default, features, serve_training)
        }
        if images.shape[-1] in (1, 3, 4) and images.shape[1] == images.shape[2]:
            encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
            functions["image_bytes"] = tf.function(_without_assignments(image_bytes), input_signature=[encoded])
        if self._index is not None:
            self._index.require_width(output.shape[-1])
            found = searches(self._index, functions)
            for name, function in found.items():
                setattr(self, name, function)
            functions |= found
        return functions

    def _all_features(self, images):
        parts = self._parts
        tensors = parts.salient(images, training=False)
        embedding = tensors.pop("embedding")
        tensors = {**tensors, **_embeddings(tf.cast(embedding, tf.float32))}
        if parts.head is not None:
            tensors["proj_head_input"] = embedding
            tensors["proj_head_output"] = parts.head(embedding, training=False)
        if parts.probe is not None:
            tensors["logits_sup"] = parts.probe(embedding)
        return {name: tf.cast(tensor, tf.float32) for name, tensor in tensors.items()}


def resources_of(parts: Sequence[keras.layers.Layer], known: Sequence[tf.Variable]) -> list[Any]:
    """What layers hold beside Keras variables: variables and tables of TensorFlow's own."""
    held = {id(each): each for part in parts for each in tf.train.TrackableView(part).descendants()}
    for each in known:
        held.pop(id(each), None)
    return [each for each in held.values() if isinstance(each, tf.Variable) or hasattr(each, "resource_handle")]


def _without_assignments(function: Callable) -> Callable:
    """The same outputs; what the layers would assign to their variables is dropped."""

    @functools.wraps(function)
    def pure(images):
        with keras.StatelessScope(initialize_variables=False):  # the encoder's are; those of others stay as they are
            return function(images)

    return pure


def _salient_model(encoder: keras.Model) -> Callable:
    """The encoder with its named inner tensors as outputs; of a subclassed model, only the embedding."""
    if not getattr(encoder, "inputs", None):
        return lambda images, training: {"embedding": encoder(images, training=training)}
    names = {layer.name for layer in encoder.layers}
    tensors = {name: encoder.get_layer(name).output for name in SALIENT if name in names}
    return keras.Model(encoder.inputs, {**tensors, "embedding": encoder.outputs[0]})


def _penalty(variable: keras.Variable) -> Callable:
    return tf.function(lambda: tf.cast(variable.regularizer(variable), tf.float32), input_signature=[])


def _embeddings(features: tf.Tensor) -> dict[str, tf.Tensor]:
    # l2_normalize's epsilon bounds the squared length: a zero vector stays zero.
    return {"embedding": features, "embedding_l2": tf.math.l2_normalize(features, axis=-1, epsilon=1e-24)}


def _image_shape(encoder: Any) -> tuple[int | None, int | None, int]:
    """Height, width (None where the encoder takes any) and channels of the encoder's input."""
    if not isinstance(encoder, keras.Model):
        raise InputError(f"`model_or_encoder` must be a keras.Model. Received: {type(encoder).__name__}.")
    if not encoder.built:
        raise InputError("`model_or_encoder` must be built. Received: no weights yet. Call it on a batch first.")
    if getattr(encoder, "inputs", None):
        shape = encoder.input_shape
    else:  # A subclassed model knows only the batch that built it: all but its channels may vary.
        shape = (encoder.get_build_config() or {}).get("input_shape")
        shape = (None, None, None, shape[-1]) if shape else None
    if not (isinstance(shape, tuple) and len(shape) == 4 and isinstance(shape[-1], int)):
        raise InputError(f"`model_or_encoder` must take images [B, H, W, C]. Received: input shape {shape}.")
    return shape[1:]


def _settings(encoder: keras.Model) -> dict[str, Any]:
    """How the encoder was made, where it says so."""
    config = getattr(encoder, "config", None)
    return config if isinstance(config, dict) else {}


def _image_size(image_size: int | None, height: int | None, width: int | None, default: int) -> int:
    size = image_size if image_size is not None else height or width or default
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"`image_size` must be a whole number >= 1. Received: image_size={image_size!r}.")
    if image_size is not None and any(side not in (None, image_size) for side in (height, width)):
        raise InputError(
            f"`image_size` must be what the encoder takes, {height} x {width}. Received: image_size={image_size}."
        )
    return size


def _write_architecture(encoder: keras.Model, path: str) -> None:
    """What a Keras consumer rebuilds the encoder from, to fine-tune it; left out where its class has no configuration."""
    try:
        text = json.dumps(keras.saving.serialize_keras_object(encoder))
    except (NotImplementedError, TypeError) as error:
        logging.info("The export leaves out the encoder's Keras configuration: %s", str(error).splitlines()[0])
        return
    storage.write(path, text)
