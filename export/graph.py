"""What the graph of a SavedModel does when a signature is asked for, without running it."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2

_ASSIGNMENTS = (
    "Assign",
    "ResourceApply",
    "ResourceCountUpTo",
    "ResourceScatter",
    "ResourceSparseApply",
    "ResourceStridedSliceAssign",
)
_HALF = {tf.bfloat16.as_datatype_enum: "bfloat16", tf.float16.as_datatype_enum: "float16"}


def signature_nodes(meta: meta_graph_pb2.MetaGraphDef) -> dict[str, list[node_def_pb2.NodeDef]]:
    """{signature: every operation that asking for its outputs may run}, those of the functions that are called included.

    Args:
        meta: of a SavedModel, see `meta_graph`.
    """
    top = {node.name: node for node in meta.graph_def.node}
    functions = {function.signature.name: function.node_def for function in meta.graph_def.library.function}

    def reached(outputs: Iterable[str]) -> list[node_def_pb2.NodeDef]:
        nodes, seen, waiting = [], set(), [name.lstrip("^").partition(":")[0] for name in outputs]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                nodes.append(top[name])
                waiting += [source.lstrip("^").partition(":")[0] for source in top[name].input]
        called: list[str] = []
        for node in nodes:  # grows: the bodies of functions are added behind
            for value in node.attr.values():
                names = [value.func.name] if value.HasField("func") else [function.name for function in value.list.func]
                for name in names:
                    if name in functions and name not in called:
                        called.append(name)
                        nodes += functions[name]
        return nodes

    return {
        name: reached(info.name for info in signature.outputs.values())
        for name, signature in meta.signature_def.items()
        if not name.startswith("__")
    }


def assigning_signatures(meta: meta_graph_pb2.MetaGraphDef) -> dict[str, str]:
    """{signature: the operation with which it changes a variable}, {} where none does, as it should be."""
    return {
        name: node.op
        for name, nodes in signature_nodes(meta).items()
        for node in nodes
        if node.op.startswith(_ASSIGNMENTS)
    }


def precision(meta: meta_graph_pb2.MetaGraphDef) -> str:
    """The least precise of float32, float16 and bfloat16 that embeddings are computed in, of an encoder or two towers."""
    nodes = [
        node
        for name, nodes in signature_nodes(meta).items()
        if name in ("serving_default", "features", "query", "key")
        for node in nodes
        if node.op != "Cast"
    ]
    found = {_HALF[node.attr["T"].type] for node in nodes if node.attr["T"].type in _HALF}
    return min(found, default="float32")  # alphabetically: bfloat16 has the fewest bits
