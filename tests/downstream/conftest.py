"""A tiny pre-trained run that fine-tuning and distillation start from."""

from __future__ import annotations

import numpy as np
import pytest

from tests.commands.runs import RESNET, argv
from tfcontrastive.commands.main import main


def write_stripes(path, count: int = 96, seed: int = 0) -> str:
    """An npz file of noisy 8x8 images whose class is the place of a bright row; returns the value for --dataset."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 120, (count, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(count) % 4
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 120
    np.savez(path, x_train=images, y_train=labels, x_test=images[:32] // 2 + 30, y_test=labels[:32])
    return f"npz:{path}"


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> str:
    return write_stripes(tmp_path_factory.mktemp("data") / "stripes.npz")


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory, dataset) -> str:
    path = tmp_path_factory.mktemp("pretrained") / "run"
    flags = {"train_steps": 2, "knn_epochs": 0, "knn_k": 5, "num_proj_layers": 3, "ft_proj_selector": 1, **RESNET}
    flags["zero_init_residual"] = True  # two steps do not settle branches that start open
    assert main(argv(dataset, path, **flags)) == 0
    return str(path)
