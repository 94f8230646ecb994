"""keras.applications: supervised baselines, from a published HDF5 file or by name.

Layers are matched in order, as Keras itself loads such files: names have changed since they were published.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from tfcontrastive.config import EncoderConfig, InputError, unknown
from tfcontrastive.encoders import MLP
from tfcontrastive.pretrained.mapping import Link, Recognised
from tfcontrastive.pretrained.variables import Variables
from tfcontrastive.runs.builders import build_network

BY_NAME = "keras.applications/"

NETWORKS: dict[int, tuple[str, str]] = {
    7_037_504: ("DenseNet121", "imagenet"),
    12_642_880: ("DenseNet169", "imagenet"),
    18_321_984: ("DenseNet201", "imagenet"),
    54_336_736: ("InceptionResNetV2", "symmetric"),
    21_802_784: ("InceptionV3", "symmetric"),
    3_228_864: ("MobileNet", "symmetric"),
    2_257_984: ("MobileNetV2", "symmetric"),
    84_887_922: ("NASNetLarge", "symmetric"),
    4_269_716: ("NASNetMobile", "symmetric"),
    42_658_176: ("ResNet101", "caffe"),
    42_626_560: ("ResNet101V2", "symmetric"),
    58_370_944: ("ResNet152", "caffe"),
    58_331_648: ("ResNet152V2", "symmetric"),
    23_587_712: ("ResNet50", "caffe"),
    23_564_800: ("ResNet50V2", "symmetric"),
    14_714_688: ("VGG16", "caffe"),
    20_024_384: ("VGG19", "caffe"),
    20_861_480: ("Xception", "symmetric"),
}
"""`{parameters without the classifier: (network, its preprocessing)}`.

EfficientNet is not among them, as its first layers are others with published weights than without; nor ConvNeXt and
MobileNetV3, whose classifiers hold layers of the body.
"""

_TOP = ("predictions", "conv_preds", "fc1", "fc2")
_UNUSED = {r"^(fc1|fc2|predictions|conv_preds)/": "a classifier that is more than one layer on the features"}


def read_by_name(path: str) -> Variables:
    """The ImageNet weights of `keras.applications/NAME`, which Keras downloads or finds among those it has."""
    name = path.removeprefix(BY_NAME)
    names = [network for network, _ in NETWORKS.values()]
    if name not in names:
        raise InputError(f"the network {unknown(name, names)}")
    model = getattr(keras.applications, name)(weights="imagenet")
    held = {f"{layer.name}/{weight.name}": weight for layer in _layers(model) for weight in layer.weights}
    shapes = {name: tuple(weight.shape) for name, weight in held.items()}
    return Variables("keras.applications", path, shapes, lambda name: keras.ops.convert_to_numpy(held[name]))


def recognise_applications(
    variables: Variables, image_size: int | None = None, ft_proj_selector: int | None = None
) -> Recognised | None:
    """The networks of such a file, None where it is another's."""
    if variables.kind not in ("HDF5", "keras.applications"):
        return None
    body = [name for name in variables.shapes if name.partition("/")[0] not in _TOP]
    count = sum(int(np.prod(variables.shapes[name])) for name in body)
    if count not in NETWORKS:
        raise InputError(f"none of keras.applications has {count:,} parameters below its classifier")
    name, preprocessing = NETWORKS[count]
    config = EncoderConfig(encoder=f"{BY_NAME}{name}", preprocessing=preprocessing)
    encoder = build_network(config, image_size=image_size, channels=3)
    weights = [(layer, weight) for layer in _layers(encoder) for weight in layer.weights]
    found = [Link(f"encoder/{layer.name}/{weight.name}", weight, source)
             for (layer, weight), source in zip(weights, _in_order(body, weights), strict=True)]  # fmt: skip
    head, kernel = None, variables.shapes.get("predictions/kernel", ())
    if len(kernel) == 2 and kernel[0] == encoder.output_shape[-1]:
        head = MLP((kernel[1],), name="supervised_head")
        head.build((None, kernel[0]))
        head.built = True
        dense = head.parts[0]
        found += [
            Link(f"supervised_head/{weight.name}", weight, f"predictions/{weight.name}") for weight in dense.weights
        ]
    return Recognised("keras.applications", config, encoder, None, head, found, _UNUSED)


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The network's layers; one that wants pixels up to 255 lies in a model of its own."""
    inner = next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)
    return inner.layers


def _in_order(names: Sequence[str], weights: Sequence[tuple[keras.layers.Layer, keras.Variable]]) -> list[str]:
    """The file's names in our order: layer by layer, and within a layer by the weight's own name."""
    theirs = list(dict.fromkeys(name.rpartition("/")[0] for name in names))
    ours = list(dict.fromkeys(layer.name for layer, _ in weights))
    if len(theirs) != len(ours):
        raise InputError(f"the file has {len(theirs)} layers with weights, the network {len(ours)}")
    match = dict(zip(ours, theirs, strict=True))
    return [f"{match[layer.name]}/{weight.name}" for layer, weight in weights]
