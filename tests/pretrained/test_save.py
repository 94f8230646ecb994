"""Our weights go out under another project's names and come back exactly equal."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import write_images
from tfcontrastive.callbacks import Monitor
from tfcontrastive.commands.main import main
from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.encoders import ProjectionHead
from tfcontrastive.pretrained import load, save
from tfcontrastive.pretrained.trained import load_trained
from tfcontrastive.runs import loop
from tfcontrastive.runs.builders import build_encoder

SIMCLR = {
    "basic, small stem": {"resnet_depth": 18, "stem": "small"},
    "squeeze and excitation": {"resnet_depth": 50, "se_ratio": 0.0625, "stem": "large"},
    "both": {"resnet_depth": 50, "sk_ratio": 0.0625, "se_ratio": 0.125, "stem": "large"},
}


def assert_equal(ours, theirs):
    assert len(ours.variables) == len(theirs.variables)
    for mine, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(mine, other)


def randomised(layer):
    for index, variable in enumerate(layer.variables):
        variable.assign(tf.random.stateless_uniform(variable.shape, (index, 1), 0.5, 1.5))
    return layer


@pytest.mark.parametrize("name", SIMCLR)
def test_simclr_round_trip(name, tmp_path):
    config = EncoderConfig(width_multiplier=0.125, **SIMCLR[name])
    encoder = randomised(build_encoder(config, image_size=None, channels=3))
    head = ProjectionHead(num_layers=3, out_dim=8)
    head.build((None, encoder.output_shape[-1]))
    head.built = True
    classifier = keras.layers.Dense(5)
    classifier.build((None, encoder.output_shape[-1]))
    heads = {"projection_head": randomised(head), "supervised_head": randomised(classifier)}
    (path,), left_out = save(tmp_path, "simclr_tf2", encoder=encoder, config=config, **heads)
    again = load(path)
    assert left_out == []
    assert again.config == config
    assert_equal(encoder, again.encoder)
    assert_equal(head, again.projection_head)
    assert_equal(classifier, again.supervised_head)
    with pytest.raises(InputError, match="must not hold simclr_tf2 yet"):
        save(tmp_path, "simclr_tf2", encoder=encoder, config=config)


def test_a_simclr_head_of_its_own_width_is_left_out(tmp_path):
    config = EncoderConfig(resnet_depth=18, width_multiplier=0.0625)
    encoder = build_encoder(config, image_size=None, channels=3)
    head = ProjectionHead(num_layers=2, out_dim=8, hidden_dim=16)  # the encoder has 32 features
    head.build((None, 32))
    _, left_out = save(tmp_path, "simclr_tf2", encoder=encoder, config=config, projection_head=head)
    assert left_out == ["the projection head, which is of another kind than simclr's"]


def test_torchvision_round_trip(tmp_path):
    config = EncoderConfig(
        resnet_depth=18, stem="large", pool_padding="symmetric", first_shortcut="identity", preprocessing="imagenet"
    )
    encoder = randomised(build_encoder(config, image_size=64, channels=3))
    paths, left_out = save(tmp_path, "torchvision", encoder=encoder, config=config)
    for path in paths:
        again = load(path, image_size=64)
        assert again.config == config
        assert_equal(encoder, again.encoder)
    assert "strict=False" in left_out[0]
    images = tf.random.stateless_uniform([2, 64, 64, 3], (1, 2))
    np.testing.assert_allclose(encoder(images), again.on_pixels()(images), rtol=1e-5)


@pytest.mark.parametrize(
    ("format", "name", "value"),
    [
        ("torchvision", "pool_padding", "same"),
        ("simclr_tf2", "first_shortcut", "identity"),
        ("simclr_tf2", "feature_grids", "4,2,2,1"),
        ("simclr_tf2", "whiten_features", True),
        ("torchvision", "whiten_features", True),
    ],
)
def test_networks_that_the_other_project_does_not_have_are_refused(format, name, value, tmp_path):
    settings = {"pool_padding": "symmetric", name: value} if format == "torchvision" else {name: value}
    config = EncoderConfig(resnet_depth=18, stem="large", **settings)
    encoder = build_encoder(config, image_size=32, channels=3)
    with pytest.raises(InputError, match=rf"needs an encoder with .* Received: {name}={value}"):
        save(tmp_path, format, encoder=encoder, config=config)


def test_the_commands_import_export_and_evaluate_files_of_others(tmp_path, capsys):
    """simclr's checkpoint becomes an export of ours, and goes out again unchanged; evaluate takes it as it is."""
    config = EncoderConfig(resnet_depth=18, width_multiplier=0.0625, stem="small")
    encoder = randomised(build_encoder(config, image_size=None, channels=3))
    (theirs,), _ = save(tmp_path, "simclr_tf2", encoder=encoder, config=config)
    assert main(["import", f"--from={theirs}", "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert "google-research/simclr, training checkpoint of TensorFlow 2" in shown
    assert "block_groups/3/layers/1/conv2d_bn_layers/3/bn/moving_variance" in shown
    assert main(["import", f"--from={theirs}", f"--export_dir={tmp_path}/imported"]) == 0
    imported = load_trained(saved_model=str(tmp_path / "imported"))
    assert_equal(encoder, imported.encoder)
    out = tmp_path / "again"
    assert main(["export", f"--model_dir={theirs}", f"--export_dir={out}", "--format=simclr_tf2"]) == 0
    assert_equal(encoder, load(out / "simclr_tf2").encoder)
    dataset = write_images(tmp_path / "images.npz")
    measure = ["evaluate", "--protocol=knn", f"--dataset={dataset}", "--eval_split=train", "--k=5", "--image_size=8"]
    assert main([*measure, f"--checkpoint={theirs}", f"--output_dir={tmp_path}/results"]) == 0
    assert main(["import", f"--from={tmp_path}/nothing", "--dry_run"]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_training_starts_from_published_weights(tmp_path, monkeypatch, capsys):
    """The encoder, its targets and what its architecture is come from the file; a flag that differs is refused."""
    config = EncoderConfig(resnet_depth=18, width_multiplier=0.0625, stem="large")
    encoder = randomised(build_encoder(config, image_size=None, channels=3))
    (theirs,), _ = save(tmp_path, "simclr_tf2", encoder=encoder, config=config)
    dataset = write_images(tmp_path / "images.npz")
    begun = []
    monkeypatch.setattr(loop, "fit", lambda run, *_, **__: begun.append(run.model) or 0.0)
    monkeypatch.setattr(Monitor, "measure", lambda _: {})
    monkeypatch.setattr("tfcontrastive.export.save_once", lambda *_, **__: "")
    line = ["train", "--method=moco_v3", f"--dataset={dataset}", "--image_size=8", "--train_batch_size=16",
            "--train_steps=1", "--hidden_dim=16", f"--checkpoint={theirs}"]  # fmt: skip
    assert main([*line, f"--model_dir={tmp_path}/run"]) == 0
    (model,) = begun
    assert_equal(encoder, model.encoder)
    assert_equal(encoder, model.target_encoder)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["encoder"]["resnet_depth"] == 18
    assert main([*line, f"--model_dir={tmp_path}/other", "--resnet_depth=50"]) == 2
    assert "`resnet_depth` must be the checkpoint's, 18" in capsys.readouterr().err
