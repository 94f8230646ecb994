"""Two towers as one SavedModel: each of them, and both at once."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
from absl import logging

import tfcontrastive
from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.export.checks import checked_batch
from tfcontrastive.export.graph import assigning_signatures
from tfcontrastive.export.model_card import described_signatures, meta_graph
from tfcontrastive.export.saved_model import resources_of
from tfcontrastive.export.served_encoder import ServedEncoder, served_encoder
from tfcontrastive.export.versions import aside_in, publish
from tfcontrastive.export.warmup import made_input, write_requests
from tfcontrastive.pretrained.trained import CARD
from tfcontrastive.towers import TwoTower


def save_towers(
    model: TwoTower,
    base: str | os.PathLike,
    version: int | None = None,
    *,
    card: dict[str, Any] | None = None,
    optimize: bool | None = None,
) -> str:
    """Writes two towers as one SavedModel to `base/<version>/`, whole or not at all.

    The signatures, which the loaded object also has as functions of these names, are

    - `query`: what the query's tower takes -> `embedding` `[B, D]`;
    - `key`: what the key's tower takes -> `embedding` `[B, D]`;
    - `similarity`: both, `[M, ...]` and `[N, ...]` -> `similarity` `[M, N]`, the products of the embeddings (cosines where
      directions are compared), and `logits` `[M, N]`, these over the temperature, plus siglip's bias.

    An input is called as its side, `query` or `key`; of a tower that takes a dictionary, `query_NAME`. A tower of texts
    takes strings `[B]`: its vocabulary is part of the model. All outputs are float32, and no signature changes a variable. A
    tower with batch normalisation behind convolutions has it folded into them, as `save_model` does.

    Args:
        model: the towers; each a graph of layers, functional or `keras.Sequential`.
        base: the directory that holds the versions.
        version: a whole number from 0 to 2^63 - 1; None takes the number after the highest in `base`, from 1.
        card: more facts for `model_card.json` (data, metrics, ...), JSON values.
        optimize: fold batch normalisation; default: wherever a tower has some to fold.

    Returns:
        The path `base/<version>`.

    Raises:
        InputError: if the version exists, or a tower is no graph of layers or changes its variables in inference.

    Examples:
        >>> texts = ["a red shoe", "a blue shirt", "two shoes"]
        >>> tower = tfcontrastive.encoders.TextEncoder.of_texts(texts, width=16, depth=1)
        >>> towers = tfcontrastive.TwoTower(tower, config=tfcontrastive.TwoTowerConfig("sim_cse"))
        >>> loaded = tf.saved_model.load(save_towers(towers, "exported_towers"))
        >>> loaded.similarity(tf.constant(texts), tf.constant(["shoe"]))["similarity"].shape
        TensorShape([3, 1])
    """
    if not isinstance(model, TwoTower):
        raise InputError(f"`model` must be a TwoTower. Received: {type(model).__name__}.")
    specs = {"query": _inputs("query", model.query_encoder), "key": _inputs("key", model.key_encoder)}
    servable = _Servable(model, specs, optimize)
    with aside_in(base, version) as aside:
        tf.saved_model.save(servable, aside, signatures=servable.functions())
        meta = meta_graph(aside)
        assigning = assigning_signatures(meta)
        if assigning:
            raise InputError(
                "`model` must hold its state in Keras variables (`add_weight`), as no signature may change the model that "
                f"it serves. Received: {assigning}."
            )
        facts = {
            "name": model.name,
            "method": type(model).__name__,
            "config": dataclasses.asdict(model.settings),
            "embedding_dim": model.embedding_dim,
            "parameters": int(model.count_params()),
            "temperature": float(model.temperature),
            "logit_bias": None if model.logit_bias is None else float(model.logit_bias),
            "signatures": described_signatures(meta),
            "versions": {package.__name__: package.__version__ for package in (tfcontrastive, tf, keras)},
            **(card or {}),
        }
        requests = _requests(servable.functions(), specs)
        if requests:
            write_requests(aside, requests)
        storage.write(os.path.join(aside, CARD), json.dumps(facts, indent=2, default=str) + "\n")
        return publish(aside, base, version)


class _Servable(tf.Module):
    """What is saved: functions, and the variables of both towers in one plain list, as a C++ session restores them."""

    def __init__(self, model: TwoTower, specs: Mapping[str, Any], optimize: bool | None):
        super().__init__(name="towers")
        served = {id(tower): _served(tower, optimize) for tower in (model.query_encoder, model.key_encoder)}
        self._run = _functions(model, specs, served)
        parts = [model.query_encoder, model.key_encoder, model.query_head, model.key_head]
        layers = list({id(part): part for part in parts if part is not None}.values())
        held = [variable for layer in layers for variable in layer.variables]
        held += [variable for variable in (model.log_scale, model.logit_bias) if variable is not None]
        self.held = list({id(variable): variable.value for variable in held}.values())
        self.held += [variable for one in served.values() if one is not None for variable in one.variables]
        self.resources = resources_of(layers, known=self.held)
        for name, function in self._run.items():
            setattr(self, name, function)

    def functions(self) -> dict[str, Callable]:
        return dict(self._run)


def _served(tower: keras.Model, optimize: bool | None) -> ServedEncoder | None:
    """A tower as the signatures run it, None for as it is, as all are that take more than one tensor."""
    return served_encoder(tower, optimize) if isinstance(_given(tower), keras.KerasTensor) else None


def _functions(
    model: TwoTower, specs: Mapping[str, Any], served: Mapping[int, ServedEncoder | None]
) -> dict[str, Callable]:
    """The three functions. A closure holds the model: in a module, TensorFlow would save its variables twice."""
    sides = {"query": (model.query_encoder, model.query_head), "key": (model.key_encoder, model.key_head)}
    made: dict[tuple[int, int], Callable] = {}

    def tower_of(side):
        """A tower with its head: one function for all signatures, as the weights that are its constants are large."""
        encoder, head = sides[side]
        run = served[id(encoder)] or functools.partial(encoder, training=False)

        def embed(inputs):
            with keras.StatelessScope(initialize_variables=False):  # what layers would assign is dropped
                return tf.cast(model.embedding(run(inputs), head), tf.float32)

        return made.setdefault((id(encoder), id(head)), tf.function(embed, input_signature=[specs[side]]))

    towers = {side: tower_of(side) for side in sides}

    def embeddings(side, inputs):
        return towers[side](tf.nest.map_structure(lambda x, spec: checked_batch(x, spec.name), inputs, specs[side]))

    def query(query):
        return {"embedding": embeddings("query", query)}

    def key(key):
        return {"embedding": embeddings("key", key)}

    def similarity(query, key):
        queries, keys = embeddings("query", query), embeddings("key", key)
        return {"similarity": tf.matmul(queries, keys, transpose_b=True), "logits": model.logits(queries, keys)}

    return {
        "query": tf.function(query, input_signature=[specs["query"]]),
        "key": tf.function(key, input_signature=[specs["key"]]),
        "similarity": tf.function(similarity, input_signature=[specs["query"], specs["key"]]),
    }


def _requests(functions: Mapping[str, Callable], specs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Made inputs of each signature, for warm-up; none where the towers refuse them: such a request can fail a load."""
    made = tf.nest.map_structure(made_input, dict(specs))
    try:
        functions["similarity"](*(tf.nest.map_structure(tf.constant, made[side]) for side in ("query", "key")))
    except (tf.errors.OpError, ValueError) as error:
        logging.warning(
            "The export has no warm-up requests: the towers do not take made inputs (%s).", type(error).__name__
        )
        return {}
    query, key = (
        {
            spec.name: value
            for spec, value in zip(tf.nest.flatten(specs[side]), tf.nest.flatten(made[side]), strict=True)
        }
        for side in ("query", "key")
    )
    return {"query": query, "key": key, "similarity": {**query, **key}}


def _inputs(side: str, encoder: keras.Model) -> Any:
    """What a tower takes, as specs with the names of a signature's inputs."""
    if not getattr(encoder, "inputs", None):
        raise InputError(
            f"`model` must have towers that are graphs of layers, functional or keras.Sequential, to be exported. "
            f"Received: {type(encoder).__name__} as the {side}'s."
        )
    given = _given(encoder)

    def spec(tensor, name):
        return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name=name)

    if isinstance(given, dict):
        return {name: spec(tensor, f"{side}_{name}") for name, tensor in given.items()}
    if isinstance(given, (list, tuple)):
        return [spec(tensor, f"{side}_{place}") for place, tensor in enumerate(given)]
    return spec(given, side)


def _given(encoder: keras.Model) -> Any:
    """What a graph of layers takes."""
    return encoder.inputs[0] if isinstance(encoder, keras.Sequential) else encoder.input
