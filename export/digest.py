"""What tells two exported models apart: a digest of what they compute, not of the files that hold it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, node_def_pb2

from tfcontrastive import storage
from tfcontrastive.export.model_card import meta_graph, read_card

_OWN = ("features", "serving_default")
"""The signatures whose `embedding` is the encoder's, the best first: an optimised `serving_default` runs a copy."""

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_PASSES = ("Identity", "IdentityN")
_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")
_NAMES = ("shared_name", "container", "debug_name", "config_proto", "executor_type", "allowed_devices")


def model_digest(saved_model: str | os.PathLike) -> str:
    """A digest of an exported encoder's weights, architecture and preprocessing.

    Two exports of the same weights have the same one, whatever their files, layer names, heads and optimisation; another
    weight, operation or preprocessing gives another.

    Args:
        saved_model: the directory of `saved_model.pb`, on a disk or in a bucket.

    Returns:
        The digest that the model's card keeps, or that of its files where it keeps none: 32 hexadecimal digits.

    Examples:
        >>> len(model_digest("exported/1"))
        32
    """
    card = read_card(saved_model)
    return card.get("digest") or digest_of_files(saved_model, card.get("preprocessing", {}).get("hash"))


def digest_of_files(saved_model: str | os.PathLike, preprocessing_hash: str | None) -> str:
    """As `model_digest`, always of the graph and the weights themselves.

    Args:
        saved_model: as above.
        preprocessing_hash: that of the card.
    """
    return _hash("model", _Graph(os.fspath(saved_model)).digest(), str(preprocessing_hash))[:32]


class _Graph:
    """The graph of a SavedModel. The digest of a tensor is that of the operation which gives it and of all that goes in:
    of a variable, of its value. Names are left out: they count the layers that a process has made."""

    def __init__(self, path: str):
        meta = meta_graph(path)
        self._signatures = {name: value for name, value in meta.signature_def.items() if not name.startswith("__")}
        self._functions = {function.signature.name: function for function in meta.graph_def.library.function}
        self._nodes = {node.name: node for node in meta.graph_def.node}
        weights = os.path.join(path, "variables", "variables")
        self._values = tf.compat.v1.train.NewCheckpointReader(weights) if storage.exists(weights + ".index") else None
        self._keys = self._checkpoint_keys(meta.saver_def.restore_op_name) if self._values else {}

    def digest(self) -> str:
        """That of the encoder's embedding; of a model without one, of all that its signatures give."""
        scope = _Scope(self, self._nodes, {})
        for name in _OWN:
            if name in self._signatures and "embedding" in self._signatures[name].outputs:
                return scope.tensor(self._signatures[name].outputs["embedding"].name)
        return _hash(
            *(
                f"{signature} {name} {scope.tensor(info.name)}"
                for signature, spec in sorted(self._signatures.items())
                for name, info in sorted(spec.outputs.items())
            )
        )

    def call(self, name: str, arguments: Sequence[str]) -> list[str]:
        """The digests of a function's outputs, given those of its arguments."""
        function = self._functions[name]
        names = [argument.name for argument in function.signature.input_arg]
        scope = _Scope(self, {node.name: node for node in function.node_def}, dict(zip(names, arguments, strict=True)))
        return [scope.tensor(function.ret[output.name]) for output in function.signature.output_arg]

    def attribute(self, value: attr_value_pb2.AttrValue) -> bytes | str:
        """Of a node. A function is a branch, the body of a loop, or what is mapped."""
        called = [value.func] if value.HasField("func") else list(value.list.func)
        if not called:
            return value.SerializeToString(deterministic=True)
        counts = [len(self._functions[function.name].signature.input_arg) for function in called]
        return _hash(
            *(
                digest
                for function, count in zip(called, counts, strict=True)
                for digest in self.call(function.name, [f"argument {i}" for i in range(count)])
            )
        )

    def value(self, variable: str) -> str | None:
        """The digest of a variable's value; None where the checkpoint has none."""
        if variable not in self._keys:
            return None
        value = np.ascontiguousarray(self._values.get_tensor(self._keys[variable]))
        return _hash("variable", str(value.dtype), str(value.shape), value.tobytes())

    def _checkpoint_keys(self, restore_op: str) -> dict[str, str]:
        """{node of a variable: its key in the checkpoint}, as the graph itself restores them."""
        call = self._nodes.get(restore_op)
        if call is None or "f" not in call.attr:  # TensorFlow 1: they are called alike
            return {name: name for name in self._values.get_variable_to_shape_map()}
        function = self._functions[call.attr["f"].func.name]
        nodes = {node.name: node for node in function.node_def}
        variables = dict(zip((argument.name for argument in function.signature.input_arg), call.input, strict=True))
        found = {}
        for node in nodes.values():
            if node.op == "AssignVariableOp":
                output = nodes[_node(node.input[1])].input[0]  # of an identity: RestoreV2:tensors:7
                names = nodes[_node(nodes[_node(output)].input[1])].attr["value"].tensor
                found[variables[node.input[0]]] = tf.make_ndarray(names)[_position(output)].decode()
        return found


class _Scope:
    """The nodes of the whole graph or of one function, with the digests of what they give."""

    def __init__(self, graph: _Graph, nodes: Mapping[str, node_def_pb2.NodeDef], arguments: Mapping[str, str]):
        self._graph, self._nodes = graph, nodes
        self._found: dict[str, str | list[str]] = {name: [digest] for name, digest in arguments.items()}

    def tensor(self, name: str) -> str:
        """The digest of `argument`, `node:0` or `node:output:0`."""
        stack = [_node(name)]
        while stack:  # no recursion: networks are deep
            node = stack[-1]
            missing = [] if node in self._found else [i for i in self._inputs(node) if _node(i) not in self._found]
            if missing:
                stack += map(_node, missing)
                continue
            stack.pop()
            if node not in self._found:
                self._found[node] = self._visit(self._nodes[node])
        return self._output(name)

    def _inputs(self, node: str) -> list[str]:
        return [name for name in self._nodes[node].input if not name.startswith("^")]

    def _output(self, name: str) -> str:
        found = self._found[_node(name)]
        return found[_position(name)] if isinstance(found, list) else _hash(found, name.partition(":")[2])

    def _visit(self, node: node_def_pb2.NodeDef) -> str | list[str]:
        inputs = [self._output(name) for name in self._inputs(node.name)]
        if node.op in _PASSES:  # a model that is loaded and saved again has more of them
            return inputs
        if node.op in _CALLS:
            return self._graph.call(node.attr["f"].func.name, inputs)
        value = self._graph.value(node.name) if node.op in _VARIABLES else None
        if value is not None:
            return [value]
        attributes = (
            part
            for name in sorted(node.attr)
            if name not in _NAMES and not name.startswith("_")
            for part in (name, self._graph.attribute(node.attr[name]))
        )
        return _hash(node.op, *attributes, *inputs)


def _node(tensor: str) -> str:
    return tensor.partition(":")[0]


def _position(tensor: str) -> int:
    """Of an output among those of its node."""
    return int(tensor.rpartition(":")[2]) if ":" in tensor else 0


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
