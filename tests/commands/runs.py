"""Small runs of `tfcontrastive train` for tests: tiny images, a tiny network, as a process of its own or in this one."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import numpy as np

# A network that is traced in half the time of a ResNet-18: of all tests whose subject is not the network.
ONE_BLOCK = {"encoder": "vit_small", "vit_depth": 1, "width_multiplier": 0.0834, "patch_size": 4}
RESNET = {"encoder": "resnet", "resnet_depth": 18, "width_multiplier": 0.0625}


def write_images(path: pathlib.Path, count: int = 64, size: int = 8, channels: int = 3, labels: bool = True) -> str:
    """An npz file of random uint8 images; returns the value for --dataset."""
    rng = np.random.default_rng(0)
    arrays = {"images": rng.integers(0, 256, (count, size, size, channels), dtype=np.uint8)}
    if labels:
        arrays["labels"] = np.arange(count) % 4
    np.savez(path, **arrays)
    return f"npz:{path}"


def argv(dataset: str, model_dir: pathlib.Path, **flags: object) -> list[str]:
    """The words of a small `train` command, of one block where no `encoder` is named."""
    chosen = {
        "dataset": dataset,
        "model_dir": model_dir,
        "image_size": 8,
        **({} if "encoder" in flags else ONE_BLOCK),
        "train_batch_size": 16,
        "train_steps": 4,
        "warmup_epochs": 0,
        "proj_out_dim": 8,
        "mixed_precision": "float32",
        **flags,
    }
    return ["train", *(f"--{name}={value}" for name, value in chosen.items())]


def start(arguments: list[str]) -> subprocess.Popen:
    """The command as a process of its own."""
    program = [sys.executable, "-m", "tfcontrastive.commands.main", *arguments]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
