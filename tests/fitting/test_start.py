"""Trained weights to start from: the network and the size of the images are theirs."""

from types import SimpleNamespace

import pytest

from tests.fitting.test_verdict import measured
from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.fitting import start
from tfcontrastive.fitting.request import make_request
from tfcontrastive.fitting.verdict import verdict

HELD = EncoderConfig(resnet_depth=50, width_multiplier=2.0, zero_init_residual=True)


@pytest.fixture
def loaded(monkeypatch):
    """What is asked of `load_trained`, which gives a ResNet-50 for images of 40 pixels."""
    asked = []

    def load_trained(**how):
        asked.append(how)
        return SimpleNamespace(name="weights", config=HELD, image_size=how["image_size"] or 40)

    monkeypatch.setattr(start, "load_trained", load_trained)
    return asked


def started(**settings):
    request = make_request("embedded", minutes=1, output_dir="x", checkpoint="weights.pth", **settings)
    return start.start_of(request.config, request.asked)[0]


def test_network_and_size_are_those_of_the_weights(loaded):
    config = started()
    assert (config.encoder.resnet_depth, config.encoder.width_multiplier, config.data.image_size) == (50, 2.0, 40)
    assert config.encoder.zero_init_residual is None  # of training, not of the network
    assert loaded == [{"checkpoint": "weights.pth", "image_size": None}]


def test_another_size_is_what_they_are_loaded_for(loaded):
    assert started(image_size=32).data.image_size == 32
    assert loaded[0]["image_size"] == 32


def test_another_network_is_refused_and_their_own_is_not(loaded):
    assert started(resnet_depth=50, global_bn=False).encoder.global_bn is False
    with pytest.raises(InputError, match=r"`resnet_depth` must be the checkpoint's, 50\. Received: resnet_depth=18"):
        started(resnet_depth=18)


def test_weights_without_a_known_network_are_refused(loaded, monkeypatch):
    known = SimpleNamespace(name="a SavedModel", config=None)
    monkeypatch.setattr(start, "load_trained", lambda **_: known)
    with pytest.raises(
        InputError, match=r"`checkpoint` must be a pre-training run or published weights\. Received: a S"
    ):
        started()


def test_without_a_checkpoint_nothing_is_loaded(loaded):
    request = make_request("embedded", minutes=1, output_dir="x")
    assert start.start_of(request.config, request.asked) == (request.config, None)
    assert not loaded


def test_what_the_training_added_is_told(loaded):
    encoders = [measured("random", 0.3, 0.4), measured("given", 0.6, 0.8), measured("trained", 0.7, 0.75)]
    said = " ".join(verdict(encoders, {"knn_top1": 0.25, "linear_top1": 0.25}))
    assert (
        "what the starting weights are worth by +10.0 points by kNN and -5.0 points by linear probe. Use those" in said
    )
