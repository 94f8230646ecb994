"""The table of methods that the conformance suite runs through, and the tiny network and data it runs them on."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import optimizers
from tfcontrastive.config import AugmentConfig
from tfcontrastive.encoders import BatchNorm, ViT
from tfcontrastive.methods import METHODS, ContrastiveModel

BATCH, SIZE, CLASSES = 16, 8, 3

# name: (method, settings). Heads and settings that change the loss alone are in test_against_loops.
CASES = {
    "simclr": ("simclr", {"temperature": 0.2, "num_proj_layers": 2, "proj_out_dim": 8}),
    "simclr_v2": (
        "simclr",
        {"temperature": 0.2, "num_proj_layers": 3, "proj_out_dim": 8, "memory_size": 96, "target_momentum": 0.9},
    ),
    "moco": ("moco", {"queue_size": 48, "proj_out_dim": 8, "target_momentum": 0.9, "moco_head": "mlp"}),
    "moco_v3_vit": (
        "moco_v3",
        {"hidden_dim": 16, "proj_out_dim": 8, "num_proj_layers": 3, "predictor_last_norm": True},
    ),
    "moco_v3": ("moco_v3", {"hidden_dim": 16, "proj_out_dim": 8, "target_momentum": 0.9}),
    "relic": ("relic", {"critic_hidden_dim": 256, "proj_out_dim": 32}),
    "relic_t": ("relic", {"critic_hidden_dim": 16, "proj_out_dim": 8, "use_target": True, "target_momentum": 0.9}),
    "byol": ("byol", {"hidden_dim": 16, "proj_out_dim": 8, "target_momentum": 0.9}),
    "supcon": ("supcon", {"hidden_dim": 16, "proj_out_dim": 8}),
    "barlow_twins": ("barlow_twins", {"hidden_dim": 16, "proj_out_dim": 8, "loss_scale": 1.0}),
    "instdisc": ("instdisc", {"bank_size": 80, "num_negatives": 0, "proj_out_dim": 8}),
    "dcl": ("dcl", {"temperature": 0.2, "sigma": 0.5, "proj_out_dim": 8}),
    "simsiam": ("simsiam", {"hidden_dim": 16, "proj_out_dim": 16, "predictor_hidden_dim": 32, "num_proj_layers": 2}),
    "vicreg": ("vicreg", {"hidden_dim": 16, "proj_out_dim": 8, "num_proj_layers": 2}),
    "nnclr": ("nnclr", {"hidden_dim": 16, "predictor_hidden_dim": 16, "proj_out_dim": 8, "queue_size": 48}),
    "swav": (
        "swav",
        {
            "temperature": 0.2,
            "epsilon": 0.2,
            "num_prototypes": 12,
            "hidden_dim": 16,
            "proj_out_dim": 8,
            "freeze_prototypes_steps": 2,
            "queue_size": 48,
        },
    ),
    "emp_ssl": ("emp_ssl", {"hidden_dim": 16, "proj_out_dim": 8, "similarity_weight": 4.0}),
    "rotation": ("rotation", {}),
    "cmc": ("cmc", {"bank_size": 80, "num_negatives": 6, "proj_out_dim": 8}),
    "pirl": ("pirl", {"bank_size": 80, "num_negatives": 6, "proj_out_dim": 8}),
    "jigsaw": ("jigsaw", {"num_permutations": 6, "hidden_dim": 8}),
    "dino": (
        "dino",
        {
            "num_prototypes": 12,
            "hidden_dim": 16,
            "proj_out_dim": 8,
            "num_head_layers": 2,
            "target_momentum": 0.99,
            "teacher_temperature_steps": 4,
            "teacher_temperature": 0.05,
            "koleo_weight": 0.1,
            "freeze_prototypes_steps": 2,
        },
    ),
    "local_aggregation": (
        "local_aggregation",
        {
            "bank_size": 80,
            "temperature": 1.0,
            # All, and few clusters: after rounding, images at an edge are on its other side.
            "num_neighbours": 80,
            "num_clusterings": 2,
            "num_clusters": 3,
            "clustering_iterations": 3,
            "clustering_steps": 3,
            "instance_steps": 2,
            "proj_out_dim": 8,
        },
    ),
    "dim": ("dim", {"hidden_dim": 16, "proj_out_dim": 8}),
    "amdim": ("amdim", {"hidden_dim": 16, "proj_out_dim": 8}),
    "cpc": (
        "cpc",
        {
            "patch_side": 4,
            "patch_stride": 2,
            "first_offset": 1,
            "last_offset": 1,
            "directions": 1,
            "context_depth": 1,
            "context_dim": 8,
            "proj_out_dim": 8,
        },
    ),
    "deepcluster_v2": (
        "deepcluster_v2",
        {
            "bank_size": 80,
            "temperature": 0.2,
            "epsilon": 0.2,
            "num_prototypes": 6,
            "num_clusterings": 1,
            "clustering_iterations": 2,
            "clustering_steps": 3,
            "hidden_dim": 16,
            "proj_out_dim": 8,
        },
    ),
    "relic_v2": ("relic_v2", {"critic_hidden_dim": 16, "proj_out_dim": 8, "target_momentum": 0.9}),
    "moco_tiles": ("moco", {"queue_size": 48, "proj_out_dim": 8, "target_momentum": 0.9, "jigsaw_weight": 0.5}),
    "instdisc_nce": ("instdisc", {"bank_size": 80, "num_negatives": 6, "proj_out_dim": 8}),
}

# Larger steps magnify rounding: in a transformer, and in DINO's head, whose outputs begin near 0 and are normalised.
LEARNING_RATES = {"moco_v3_vit": 0.005, "dino": 0.0005}

VIEWS = {"moco_tiles": 3}  # where not 2

# The first case of each method, for what a variant of its settings cannot change.
ONE_EACH = list({method: case for case, (method, _) in reversed(CASES.items())}.values())[::-1]


def tiny_encoder(channels: int = 3, width: int = 8, norm=BatchNorm) -> keras.Model:
    x = images = keras.Input((SIZE, SIZE, channels))
    for i, filters in enumerate((width, 2 * width)):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv_{i}")(x)
        # Smooth: where a unit of a ReLU lies within rounding of zero, two right gradients differ by all that it carries.
        x = keras.layers.Activation("silu")(norm(name=f"norm_{i}")(x))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(dtype="float32")(x), name="tiny")


def tiny_vit() -> keras.Model:
    vit = ViT(width=16, depth=1, num_heads=2, patch_size=4, input_shape=(SIZE, SIZE, 3))
    # It starts near zero and is no more held there by LARS: the first normalisation would magnify its rounding.
    vit.get_layer("tokens").class_token.assign(np.linspace(-1, 1, 16, dtype=np.float32))
    return vit


def make_model(
    case: str,
    *,
    optimizer: str = "lars",
    learning_rate: float | None = None,
    jit_compile: bool = False,
    seed: int = 1,
    encoder: keras.Model | None = None,
    **options,
) -> ContrastiveModel:
    """A compiled model of one case, with the same first weights for the same seed."""
    method, settings = CASES[case]
    if learning_rate is None:
        learning_rate = LEARNING_RATES.get(case, 0.05)
    keras.utils.set_random_seed(seed)
    model = METHODS[method](
        encoder or (tiny_vit() if case.endswith("vit") else tiny_encoder()),
        METHODS[method].Config(**settings),
        num_classes=CLASSES,
        augmentation=AugmentConfig(color_jitter_strength=0.5),
        total_steps=20,
        name="model",
        **options,
    )
    made = optimizers.build(optimizer, learning_rate, momentum=0.9, weight_decay=1e-4)
    model.compile(optimizer=made, jit_compile=jit_compile)
    return model


def batches(steps: int, *, first: int = 0, fixed: bool = False, case: str | None = None) -> tf.data.Dataset:
    """Batches in the form of the data pipeline; rows differ from one another, so halves of a batch do too."""
    more = VIEWS.get(case, 2) - 2

    def batch(step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0 if fixed else step)
        base = np.kron(rng.random((BATCH, 2, 2, 3)), np.ones((1, SIZE // 2, SIZE // 2, 1)))  # patches of clear colors
        views = [np.clip(base + 0.02 * rng.standard_normal(base.shape), 0, 1).astype(np.float32) for _ in range(2)]
        seeds = rng.integers(0, 2**31 - 1, (BATCH, 2, 2), dtype=np.int32)
        return {
            "views": (*views, *views[:more]),
            "seeds": np.concatenate([seeds, seeds[:, :more]], axis=1),
            "label": np.arange(BATCH, dtype=np.int32) % CLASSES,
            "index": (np.arange(BATCH, dtype=np.int32) + step * BATCH) % 80,
        }

    made = [batch(step) for step in range(first, first + steps)]
    stacked = tf.nest.map_structure(lambda *parts: np.stack(parts), *made)
    return tf.data.Dataset.from_tensor_slices(stacked)


def fit(model: ContrastiveModel, data: tf.data.Dataset) -> list[float]:
    """The loss of each step."""
    losses: list[float] = []

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            losses.append(float(np.mean(logs["loss"])))
            self.model.reset_metrics()

    model.fit(data, shuffle=False, verbose=0, callbacks=[Keep()])
    return losses


def weights(model: ContrastiveModel) -> dict[str, np.ndarray]:
    """Every variable that training changes, by a unique name: weights, statistics, targets, queues, optimizer."""
    parts = [*model.variables, *model.optimizer.variables]
    return {f"{i}:{variable.path}": np.asarray(variable) for i, variable in enumerate(parts)}
