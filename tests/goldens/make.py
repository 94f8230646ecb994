"""Makes the golden checkpoints: `python -m tests.goldens.make`, for a new method, or a new format beside the old one.

A folder of each method, `<format>/<method>/`: a run's config.json and checkpoint after two steps, and what its encoder and
its projection head then made of the images of `golden_images`.
"""

import pathlib
import sys

import numpy as np

from tests.commands.runs import RESNET, argv, write_images
from tfcontrastive.commands.main import main
from tfcontrastive.methods import METHODS
from tfcontrastive.models.checkpoint import FORMAT

GOLDENS = pathlib.Path(__file__).parent
SETTINGS = {
    "simclr": {"memory_size": 64, "target_momentum": 0.9, "num_proj_layers": 2},
    "moco": {"queue_size": 32},
    "moco_v3": {"hidden_dim": 8},
    "relic": {"use_target": True, "critic_hidden_dim": 8},
    "byol": {"hidden_dim": 8},
    "supcon": {"hidden_dim": 8},
    "barlow_twins": {"hidden_dim": 8},
    "instdisc": {"bank_size": 64, "num_negatives": 0},
    "relic_v2": {"critic_hidden_dim": 8},
    "dim": {"hidden_dim": 8, **RESNET},
    "amdim": {"hidden_dim": 8, **RESNET},
    "cpc": {"patch_side": 4, "patch_stride": 2, "first_offset": 1, "last_offset": 1, "context_dim": 8, **RESNET},
    "deepcluster_v2": {"hidden_dim": 8, "bank_size": 64, "num_prototypes": 4, "clustering_steps": 1},
    "local_aggregation": {"bank_size": 64, "num_neighbours": 8, "num_clusters": 4, "instance_steps": 1},
    "dcl": {},
    "emp_ssl": {"hidden_dim": 8},
    "rotation": {},
    "cmc": {"bank_size": 64, "num_negatives": 8},
    "pirl": {"bank_size": 64, "num_negatives": 8, "tile_size": 2, "patch_size": 2},
    "jigsaw": {"num_permutations": 4, "hidden_dim": 4, "tile_size": 2, "patch_size": 2},
    "swav": {"hidden_dim": 8, "num_prototypes": 16, "queue_size": 32},
    "dino": {"hidden_dim": 8, "num_prototypes": 16},
    "simsiam": {"hidden_dim": 8, "predictor_hidden_dim": 4},
    "vicreg": {"hidden_dim": 8},
    "nnclr": {"hidden_dim": 8, "predictor_hidden_dim": 8, "queue_size": 32},
}


def golden_images() -> np.ndarray:
    """Float32 `[4, 8, 8, 3]` in [0, 1], by a rule that no library can change."""
    return (np.arange(4 * 8 * 8 * 3) * 37 % 256).reshape(4, 8, 8, 3).astype(np.float32) / 255


def make(method: str, scratch: pathlib.Path) -> None:
    """The golden folder of a method, from a run in a scratch directory."""
    from tfcontrastive.runs.load_run import load_run

    run, folder = scratch / method, GOLDENS / f"{FORMAT}" / method
    flags = {"method": method, "train_steps": 2, "optimizer": "momentum", "patch_size": 8, "knn_epochs": 0}
    dataset = write_images(scratch / "images.npz")
    words = argv(dataset, run, **{**flags, **SETTINGS[method]})
    if "proj_out_dim" not in METHODS[method].Config.__dataclass_fields__:
        words = [word for word in words if "proj_out_dim" not in word]
    if main(words):
        sys.exit(1)
    folder.mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    for path in [run / "config.json", *(run / "checkpoints").iterdir()]:
        (folder / path.relative_to(run)).write_bytes(path.read_bytes().replace(str(scratch).encode(), b"runs"))
    np.savez(folder / "expected.npz", **outputs(load_run(run).model))


def outputs(model) -> dict[str, np.ndarray]:
    """Features and projections of the golden images."""
    features = model.encoder(golden_images(), training=False)
    if model.projection_head is None:
        return {"features": features.numpy()}
    return {"features": features.numpy(), "projections": model.projection_head(features, training=False).numpy()}


if __name__ == "__main__":
    import tempfile

    for name in METHODS:
        if not (GOLDENS / f"{FORMAT}" / name).exists():
            make(name, pathlib.Path(tempfile.mkdtemp()))
