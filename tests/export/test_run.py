"""A run is rebuilt from its directory alone."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import RESNET, argv, write_images
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.export import load_run


@pytest.mark.parametrize(
    ("channels", "labels", "flags"),
    [
        (2, False, {**RESNET, "method": "moco", "queue_size": 32, "sk_ratio": 0.0625}),
        (3, True, {"method": "byol", "mixed_precision": "bfloat16"}),
    ],
    ids=["moco-2-channels", "byol-bfloat16"],
)
def test_the_model_of_a_run(tmp_path, channels, labels, flags):
    dataset = write_images(tmp_path / "images.npz", channels=channels, labels=labels)
    assert main(argv(dataset, tmp_path / "run", train_steps=2, knn_epochs=0, knn_k=5, **flags)) == 0
    (tmp_path / "images.npz").unlink()
    run = load_run(tmp_path / "run")
    assert run.step == 2
    assert run.model.num_classes == (4 if labels else None)
    saved = tf.saved_model.load(str(tmp_path / "run" / "saved_model" / "1"))
    images = np.random.RandomState(0).rand(3, 8, 8, channels).astype("float32")
    np.testing.assert_allclose(tf.cast(run.model(images), tf.float32), saved(images), rtol=1e-2, atol=1e-3)

    # A run that was stopped between its evaluation and its last checkpoint has no metrics of its weights.
    (tmp_path / "run" / "result.json").write_text(json.dumps({"step": 1, "knn_top1": 0.5}))
    assert load_run(tmp_path / "run").card["metrics"] == {}
    (index,) = (tmp_path / "run" / "checkpoints").glob("step-2.index")
    os.truncate(index, 100)
    with pytest.raises(InputError, match=r"the checkpoint must be whole.*step-2"):
        load_run(tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"`model_dir` must hold a checkpoint. Received: .*run"):
        load_run(tmp_path / "run")
