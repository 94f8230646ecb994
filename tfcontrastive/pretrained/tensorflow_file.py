"""TensorFlow checkpoints (both versions), hub modules and SavedModels: their variables, without running their graphs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from tfcontrastive import storage
from tfcontrastive.pretrained.variables import Variables

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def read_checkpoint(prefix: str) -> Variables:
    """The variables of a checkpoint, by name or, in TensorFlow 2, by their path from the checkpointed object."""
    reader = tf.train.load_checkpoint(prefix)
    types = reader.get_variable_to_dtype_map()
    names = {key.removesuffix(_VALUE): key for key in sorted(types) if types[key] != tf.string}
    return _variables("TensorFlow checkpoint", prefix, reader, names)


def read_saved_model(path: str) -> Variables:
    """The variables of a SavedModel or hub module, by name.

    The checkpoint inside a SavedModel of TensorFlow 2 knows them by place ("variables/17"); their names are in its graph
    of objects, which is followed from the root.
    """
    saved = saved_model_pb2.SavedModel()
    with tf.io.gfile.GFile(os.path.join(path, "saved_model.pb"), "rb") as file:
        saved.ParseFromString(file.read())
    prefix = os.path.join(path, "variables", "variables")
    reader = tf.train.load_checkpoint(prefix)
    if not reader.has_tensor(_GRAPH):  # a hub module of TensorFlow 1
        return read_checkpoint(prefix)
    keys = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH))
    named = saved.meta_graphs[0].object_graph_def
    names = {}
    for node, twin in _pairs(named.nodes, keys.nodes):
        if node.HasField("variable") and twin.attributes:
            names[node.variable.name.removesuffix(":0")] = twin.attributes[0].checkpoint_key
    return _variables("SavedModel", path, reader, names)


def checkpoint_in(directory: str) -> str | None:
    """The prefix of the newest checkpoint of a directory, None where there is none."""
    indices = [name.removesuffix(".index") for name in storage.names_in(directory) if name.endswith(".index")]
    state = tf.train.get_checkpoint_state(directory)
    # A published directory names, in `checkpoint`, a path of the machine that wrote it.
    named = os.path.basename(state.model_checkpoint_path) if state is not None else None
    if named in indices:
        return os.path.join(directory, named)
    return os.path.join(directory, max(indices, key=_step)) if indices else None


def _step(name: str) -> int:
    numbers = re.findall(r"\d+$", name)
    return int(numbers[0]) if numbers else -1


def _pairs(nodes: Any, twins: Any) -> Iterator[tuple[Any, Any]]:
    """The nodes of two graphs that the same path leads to."""
    seen, open_ = {0}, [(0, 0)]
    while open_:
        one, other = open_.pop()
        yield nodes[one], twins[other]
        places = {child.local_name: child.node_id for child in twins[other].children}
        for child in nodes[one].children:
            if child.local_name in places and child.node_id not in seen:
                seen.add(child.node_id)
                open_.append((child.node_id, places[child.local_name]))


def _variables(kind: str, path: str, reader: Any, keys: dict[str, str]) -> Variables:
    shapes = reader.get_variable_to_shape_map()
    return Variables(kind, path, {name: tuple(shapes[key]) for name, key in keys.items()},
                     lambda name: reader.get_tensor(keys[name]))  # fmt: skip
