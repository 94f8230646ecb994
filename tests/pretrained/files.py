"""Files as the original projects write them, with weights by the rule."""

from __future__ import annotations

import os
import pathlib
import pickle
import struct

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.published import weight

PARTS = {"resnet_model": "resnet/", "_projection_head": "projection_head/", "supervised_head": "head_supervised/"}


def write_tf1(path: pathlib.Path, values: dict[str, np.ndarray], step: int = 7) -> pathlib.Path:
    """A checkpoint of TensorFlow 1, as its Saver writes it, in a directory."""
    path.mkdir(parents=True, exist_ok=True)
    prefix = str(path / f"model.ckpt-{step}")
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=list(values.values())
    )
    (path / "checkpoint").write_text(f'model_checkpoint_path: "/elsewhere/model.ckpt-{step}"\n')
    return path


def write_hub_module(path: pathlib.Path, values: dict[str, np.ndarray]) -> pathlib.Path:
    """A hub module of TensorFlow 1: a SavedModel without a graph of objects."""
    (path / "variables").mkdir(parents=True)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in values.items():
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(path / "variables" / "variables"), write_state=False)
    (path / "saved_model.pb").write_bytes(saved_model_pb2.SavedModel(saved_model_schema_version=1).SerializeToString())
    return path


def write_tf2_checkpoint(path: pathlib.Path, case: dict) -> pathlib.Path:
    """A training checkpoint of TensorFlow 2: variables by their path from the checkpointed object."""
    root: dict = {}
    for key, _, shape in case["variables"]:
        *places, last = key.split("/")
        at = root
        for place in places:
            at = at.setdefault(place, {})
        at[last] = tf.Variable(weight(key, shape))

    def tracked(node):
        return tf.train.Checkpoint(**{name: tracked(x) if isinstance(x, dict) else x for name, x in node.items()})

    checkpoint = tracked(root)
    checkpoint.global_step = tf.Variable(3, dtype=tf.int64)
    checkpoint.save(str(path / "ckpt"))
    return path


def write_tf2_saved_model(path: pathlib.Path, case: dict) -> pathlib.Path:
    """A SavedModel of TensorFlow 2: variables by position, under model.resnet_model.variables and so on."""
    node = type(tf.train.Checkpoint()).__mro__[1]  # an object that tracks what is set on it, and nothing more
    module = tf.Module()
    module.model = node()
    for attribute, prefix in PARTS.items():
        part = node()
        part.variables = [tf.Variable(weight(name, shape), name=name)
                          for _, name, shape in case["variables"] if name.startswith(prefix)]  # fmt: skip
        setattr(module.model, attribute, part)
    tf.saved_model.save(module, str(path))
    return path


def write_legacy_torch(path: pathlib.Path, values: dict[str, np.ndarray], **beside: object) -> pathlib.Path:
    """A file as torch before 1.6 writes it: five pickles, then each block of numbers after its length."""
    text = lambda s: pickle.BINUNICODE + struct.pack("<I", len(s)) + s.encode()  # noqa: E731
    number = lambda n: pickle.LONG1 + b"\x08" + struct.pack("<q", n)  # noqa: E731
    items = b""
    for key, (name, value) in enumerate(values.items()):
        strides = np.array(value.strides) // value.itemsize
        storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(str(key)) + text("cpu")
        storage += number(value.size) + b"Nt"
        sizes = b"".join(b"(" + b"".join(number(int(n)) for n in part) + b"t" for part in (value.shape, strides))
        items += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"Q" + number(0) + sizes
        items += pickle.NEWFALSE + b"ccollections\nOrderedDict\n)RtR"
    state = b"ccollections\nOrderedDict\n)R(" + items + b"u"
    more = b"".join(text(name) + pickle.dumps(value, 2)[2:-1] for name, value in beside.items())
    with open(path, "wb") as file:
        file.write(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2))
        file.write(pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2))
        file.write(b"\x80\x02}(" + more + text("state_dict") + state + b"u.")
        file.write(pickle.dumps([str(key) for key in range(len(values))], 2))
        for value in values.values():
            file.write(struct.pack("<q", value.size) + value.tobytes())
    return path


def truncate(path: pathlib.Path, part: float) -> None:
    """Cuts a file short."""
    os.truncate(path, int(path.stat().st_size * part))
