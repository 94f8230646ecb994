"""A foundation encoder is used as any other: imported, exported with its licence, trained on, at other sizes."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

import tfcontrastive
from tests.commands.runs import argv, write_images
from tests.foundation import CASES
from tests.pretrained.foundation_files import write
from tfcontrastive.commands.main import main
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.pretrained import load


def test_dry_run_tells_licence_feature_and_preprocessing(tmp_path, capsys):
    path = write(CASES["mae_meta"], tmp_path)
    assert main(["import", f"--from={path}", "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert "licence: CC-BY-NC-4.0, not for commercial use" in shown
    assert "feature: the class token, after the last normalisation" in shown
    assert "antialiased bicubic" in shown
    assert "skipped, the decoder of masked training: decoder_pos_embed, decoder_embed.weight" in shown


def test_an_export_keeps_licence_and_features(tmp_path):
    path = write(CASES["dinov3_transformers_gated"], tmp_path)
    assert main(["import", f"--from={path}", f"--export_dir={tmp_path / 'out'}", "--image_size=32"]) == 0
    saved = tmp_path / "out" / "1"
    card = json.loads((saved / "model_card.json").read_text())
    assert card["imported"]["licence"].startswith("DINOv3 License")
    assert card["preprocessing"]["rule"]["resize"] == "antialiased bilinear"
    assert "- licence of the weights: DINOv3 License" in (saved / "README.md").read_text()
    pixels = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
    expected = load(path).on_pixels()(pixels)
    np.testing.assert_allclose(tf.saved_model.load(str(saved))(pixels), expected, rtol=1e-4, atol=1e-5)


def test_a_run_starts_from_it_and_is_found_again(tmp_path):
    """Its config.json tells the whole architecture: the file is not needed any more."""
    path = write(CASES["dinov2_transformers_registers"], tmp_path)
    dataset = write_images(tmp_path / "images.npz", size=28, count=16)
    given = {"encoder": None, "checkpoint": path, "image_size": 28, "train_batch_size": 8, "train_steps": 1}
    words = argv(dataset, tmp_path / "run", **given, knn_epochs=0, learning_rate=0.003, optimizer="momentum")
    assert main([word for word in words if word != "--encoder=None"]) == 0
    pixels = np.random.default_rng(0).random((2, 28, 28, 3), dtype=np.float32)
    before, after = load(path).on_pixels()(pixels), tfcontrastive.load(tmp_path / "run").encoder(pixels)
    assert np.abs(before - after).max() > 0
    assert np.corrcoef(np.ravel(before), np.ravel(after))[0, 1] > 0.99
    facts = tfcontrastive.load(tmp_path / "run").facts
    assert facts["licence"] == "Apache-2.0", "it holds for what was made of them too"
    assert facts["family"].startswith("learned from those of DINOv2")
    assert tfcontrastive.load(tmp_path / "run" / "saved_model").facts == facts


def test_a_plan_is_of_its_network(tmp_path, capsys):
    path = write(CASES["dinov2_transformers_registers"], tmp_path)
    assert main(["plan", f"--checkpoint={path}", "--image_size=28", "--train_batch_size=8", "--proj_out_dim=8"]) == 0
    shown = capsys.readouterr().out
    assert "simclr, vit, 28 pixels" in shown
    encoder = load(path).encoder.count_params()
    parameters = int(re.search(r"parameters +([\d,]+) trainable", shown)[1].replace(",", ""))
    assert encoder < parameters < 1.5 * encoder
    assert main(["plan", f"--checkpoint={path}", "--encoder=vit_small"]) == 2
    assert "`encoder` must be the checkpoint's, vit." in capsys.readouterr().err


def test_images_of_other_channels_are_told(tmp_path, capsys):
    path = write(CASES["dinov2_transformers_registers"], tmp_path)
    dataset = write_images(tmp_path / "images.npz", size=28, count=8, channels=1)
    words = argv(
        dataset, tmp_path / "run", encoder=None, checkpoint=path, image_size=28, train_batch_size=8, knn_epochs=0
    )
    assert main([word for word in words if word != "--encoder=None"]) == 2
    assert re.search(
        r"`dataset` must have images of 3 channels, as DINOv2.* Received: 1 channels\.", capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["clip_transformers", "siglip_transformers", "dinov3_transformers_gated"])
def test_every_weight_has_a_gradient(name, tmp_path):
    encoder = load(write(CASES[name], tmp_path)).encoder
    with tf.GradientTape() as tape:
        features = encoder(np.random.default_rng(0).random((2, 48, 48, 3), dtype=np.float32))
        loss = tf.reduce_sum(features * np.arange(features.shape[1], dtype=np.float32))
    weights = encoder.trainable_variables
    assert len(weights) == len(encoder.variables)
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert np.all(np.isfinite(gradient)), weight.path
        assert np.any(gradient), weight.path


@pytest.mark.parametrize("name", ["siglip_transformers", "dinov2_transformers_plain", "siglip_timm_mean"])
def test_rebuilt_for_one_size_it_gives_the_same(name, tmp_path):
    encoder = load(write(CASES[name], tmp_path)).on_pixels()
    pixels = np.random.default_rng(0).random((2, 112, 112, 3), dtype=np.float32)
    np.testing.assert_allclose(rebuild(encoder, image_size=112)(pixels), encoder(pixels), rtol=1e-4, atol=1e-5)


def test_a_damaged_file_is_one_line_and_exit_code_2(tmp_path, capsys):
    path = write(CASES["dinov2_transformers_plain"], tmp_path)
    (path / "model.safetensors").write_bytes(b"\0" * 64)
    assert main(["import", f"--from={path}", "--dry_run"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
