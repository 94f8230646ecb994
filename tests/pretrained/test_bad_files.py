"""Files that are damaged, foreign or hostile: one sentence, and nothing of theirs is run."""

import collections
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from tests.pretrained.files import truncate, write_legacy_torch, write_tf1
from tests.published import CASES
from tfcontrastive.config import InputError
from tfcontrastive.pretrained import load
from tfcontrastive.pretrained.safetensors_file import write_safetensors
from tfcontrastive.pretrained.torch_file import read_torch_zip, write_torch

SMALL = {"conv1.weight": np.ones([4, 3, 3, 3], "float32"), "fc.bias": np.arange(5, dtype="float32")}


class RunsWhenUnpickled:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def zip_with(path, pickled):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return path


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_malicious_pickle_is_refused_and_not_run(form, tmp_path):
    marker = tmp_path / "was_run"
    hostile = pickle.dumps({"state_dict": collections.OrderedDict(a=RunsWhenUnpickled(marker))}, 2)
    path = tmp_path / "moco.pth.tar"
    if form == "zip":
        zip_with(path, hostile)
    else:
        path.write_bytes(hostile)
    with pytest.raises(InputError, match=r"posix.mkdir, which is no part of a tensor: not loaded"):
        load(path)
    assert not marker.exists()
    pickle.loads(hostile)  # and it is one that would have run
    assert marker.exists()


def test_settings_of_a_training_script_are_shells(tmp_path):
    """Lightning saves its options beside the weights; their classes are neither needed nor imported."""
    options = b"}(X\x05\x00\x00\x00hyperargparse\nNamespace\n)R}X\x01\x00\x00\x00aK\x01sbu."
    options = b"\x80\x02" + options.replace(b"hyperargparse", b"hypercargparse")
    zip_with(tmp_path / "last.ckpt", options)
    with pytest.raises(InputError, match="its variables are those of no family"):
        load(tmp_path / "last.ckpt")


def test_a_tensor_that_reaches_beyond_its_block_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    write_torch(path, SMALL)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    five, many = (pickle.LONG1 + b"\x08" + n.to_bytes(8, "little") for n in (5, 5000))
    head, _, tail = entries["archive/data.pkl"].rpartition(five)  # the shape; the block's own length comes before
    entries["archive/data.pkl"] = head + many + tail
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match="reaches beyond its block"):
        read_torch_zip(str(path)).read("fc.bias")


def test_torchscript_is_read_and_its_code_left_alone():
    """As OpenAI publishes CLIP. The fixture is torch.jit.save of a small module with torch 2.14."""
    found = read_torch_zip("tests/fixtures/foundation/torchscript.pt")
    assert found.shapes == {
        "small": (2, 3),
        "input_resolution": (),
        "visual.class_embedding": (4,),
        "visual.conv1.weight": (2, 3, 2, 2),
        "layers.0.weight": (2, 2),
        "layers.0.bias": (2,),
    }
    np.testing.assert_array_equal(found.read("small"), np.arange(6).reshape(2, 3))
    assert found.read("input_resolution") == 224


def damaged(tmp_path, kind):
    """A path to something that cannot be imported."""
    if kind == "nothing":
        return tmp_path / "missing.pth"
    if kind == "empty directory":
        return tmp_path
    path = tmp_path / "file"
    if kind == "random bytes":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "tar":
        with tarfile.open(path, "w") as archive:
            archive.add(__file__, "storages")
    elif kind == "another network":
        write_torch(path, SMALL)
    elif kind == "zip cut short":
        write_torch(path, SMALL)
        truncate(path, 0.5)
    elif kind == "zip said to be compressed":  # one bit of it
        write_torch(path, SMALL)
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + 10] = zipfile.ZIP_DEFLATED
        path.write_bytes(data)
    elif kind == "legacy cut short":
        write_legacy_torch(path, SMALL)
        truncate(path, 0.5)
    elif kind == "safetensors cut short":
        write_safetensors(path, SMALL)
        truncate(path, 0.2)
    elif kind == "checkpoint cut short":
        write_tf1(path, SMALL)
        truncate(path / "model.ckpt-7.data-00000-of-00001", 0.1)
        truncate(path / "model.ckpt-7.index", 0.5)
    elif kind == "SavedModel cut short":
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x80\x80\x80")
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nothing", "there is no such file"),
        ("empty directory", "holds no run, no checkpoint and no SavedModel"),
        ("random bytes", "cannot be"),
        ("empty file", "cannot be"),
        ("text", "cannot be"),
        ("tar", "torch before 0.1.10; write it anew with torch: pip install torch"),
        ("another network", "those of no family that is known: conv1.weight, fc.bias"),
        ("zip cut short", "cut short"),
        ("zip said to be compressed", "a compressed archive, which torch.save does not write"),
        ("legacy cut short", "cut short"),
        ("safetensors cut short", "cannot be"),
        ("checkpoint cut short", "cut short"),
        ("SavedModel cut short", "cut short"),
    ],
)
def test_what_cannot_be_imported_is_told_in_one_sentence(kind, message, tmp_path):
    path = damaged(tmp_path, kind)
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_whose_numbers_are_cut_short(tmp_path):
    """Its index is whole, so that the network is recognised before the damage is met."""
    case = CASES["tf1_r18_1x_sk0_small_images"]
    path = write_tf1(tmp_path / "run", {name: np.zeros(shape, "float32") for name, shape in case["variables"]})
    truncate(path / "model.ckpt-7.data-00000-of-00001", 0.5)
    with pytest.raises(InputError, match="cut short") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_variable_and_one_too_many_are_named(tmp_path):
    case = CASES["tf1_r18_1x_sk0_small_images"]
    values = {name: np.zeros(shape, "float32") for name, shape in case["variables"]}
    lost = {name: value for name, value in values.items() if name != "base_model/batch_normalization_7/beta"}
    with pytest.raises(
        InputError, match="encoder/block_group2_block1_norm1/beta finds no base_model/batch_normalization_7"
    ):
        load(write_tf1(tmp_path / "lost", lost))
    more = {**values, "base_model/extra/kernel": np.zeros([2], "float32")}
    with pytest.raises(InputError, match=r"holds 1 variables that have no place: base_model/extra/kernel"):
        load(write_tf1(tmp_path / "more", more))
