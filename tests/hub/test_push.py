"""Models to hubs and back, by clients that are stood in for: no network."""

import json
import os
import sys
import types

import pytest

import tfcontrastive
from tests.foundation import CASES
from tests.pretrained.foundation_files import write
from tfcontrastive import hub
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.hub.licence import licence_of

NOT_FOR_COMMERCE = "CC-BY-NC-4.0, not for commercial use"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The base of one version, laid out as an export, of weights that others published."""
    base = tmp_path_factory.mktemp("exported")
    (base / "1" / "variables").mkdir(parents=True)
    (base / "1" / "saved_model.pb").write_bytes(b"graph")
    (base / "1" / "variables" / "variables.index").write_bytes(b"index")
    (base / "1" / "README.md").write_text("---\nlibrary_name: tf-keras\n---\n\n# vit\n\nAn image encoder.\n")
    facts = {"family": "MAE", "licence": NOT_FOR_COMMERCE}
    (base / "1" / "model_card.json").write_text(json.dumps({"preprocessing": {}, "imported": facts}))
    return str(base)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder like one of `export --format=keras_hub`, of weights of one's own."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "config.json").write_text("{}")
    (folder / "model.weights.h5").write_bytes(b"1234")
    (folder / "left.tmp").write_bytes(b"half")
    card = {"name": "resnet", "embedding_dim": 8, "parameters": 5, "preprocessing": {"rule": {"crop": 0.875}}}
    (folder / "model_card.json").write_text(json.dumps(card))
    return str(folder)


@pytest.fixture
def clients(monkeypatch, tmp_path):
    """What the hubs' clients were asked for, whose cache is `tmp_path`; `calls.error` is raised by each where it is set."""
    calls = types.SimpleNamespace(made=[], error=None)

    def noted(name, result=None):
        def call(*args, **given):
            files = {}
            for folder in (given.get("folder_path"), *args[1:2]):
                for home, _, names in os.walk(folder) if isinstance(folder, str) else ():
                    for file in names:
                        path = os.path.join(home, file)
                        files[os.path.relpath(path, folder)] = open(path, "rb").read()  # noqa: SIM115
            calls.made.append((name, args, given, files))
            if calls.error is not None:
                raise calls.error
            return result

        return call

    class HfApi:
        create_repo, upload_folder = (staticmethod(noted(name)) for name in ("create_repo", "upload_folder"))

    for name, held in {
        "huggingface_hub": {"HfApi": HfApi, "snapshot_download": noted("snapshot_download", str(tmp_path))},
        "kagglehub": {"model_upload": noted("model_upload"), "model_download": noted("model_download", str(tmp_path))},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(held)
        monkeypatch.setitem(sys.modules, name, module)
    return calls


def test_a_dry_run_lists_what_would_go_without_any_client(exported, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["push", exported, "--to=hf://ada/flowers", "--dry_run"]) == 0
    said = capsys.readouterr().out
    for part in (
        "saved_model.pb", "model_card.json", "README.md", "https://huggingface.co/ada/flowers", "license: cc-by-nc-4.0",
        f"Licence of the weights: {NOT_FOR_COMMERCE}.", "library_name: tf-keras", "An image encoder.",
    ):  # fmt: skip
        assert part in said, part


def test_hugging_face_gets_one_commit_with_card_and_licence(exported, clients):
    upload = hub.push(exported, "hf://ada/flowers", message="first")
    [(_, args, given, _), (name, _, commit, files)] = clients.made
    assert (args, given) == (("ada/flowers",), {"private": True, "exist_ok": True})
    assert (name, commit["repo_id"], commit["commit_message"]) == ("upload_folder", "ada/flowers", "first")
    assert set(files) == set(upload.files)
    assert "README.md" in files
    assert {name: len(held) for name, held in files.items()} == dict(upload.files)
    text = files["README.md"].decode()
    assert text.startswith("---\nlicense: cc-by-nc-4.0\n")
    assert text.count("\n---\n") == 1
    assert NOT_FOR_COMMERCE in text
    before = open(os.path.join(exported, "1", "README.md"), encoding="utf-8").read()  # noqa: SIM115
    assert "license:" not in before, "the export stays as it is"


def test_kaggle_gets_its_own_name_of_the_licence(exported, clients):
    hub.push(exported, "kaggle://ada/flowers/tensorFlow2/small")
    [(_, args, given, files)] = clients.made
    assert args[0] == "ada/flowers/tensorFlow2/small"
    assert given["license_name"] == "Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)"
    assert "saved_model.pb" in files


def test_a_folder_of_keras_hub_gets_a_readme_and_leaves_what_is_half_written(own, clients):
    upload = hub.push(own, "hf://ada/flowers", licence="mit", public=True)
    assert set(upload.files) == {"README.md", "config.json", "model.weights.h5", "model_card.json"}
    assert clients.made[0][2]["private"] is False
    text = clients.made[1][3]["README.md"].decode()
    for part in ("license: mit\n", "library_name: keras-hub", "Backbone.from_preset", "square of 0.875"):
        assert part in text


@pytest.mark.parametrize(
    ("told", "name", "front"),
    [
        ("Apache-2.0, as Google's and timm's are", "apache-2.0", "license: apache-2.0\n"),
        ("MIT", "mit", "license: mit\n"),
        (NOT_FOR_COMMERCE, "cc-by-nc-4.0", "license: cc-by-nc-4.0\n"),
        ("DINOv3 License, Meta's own terms", "other", "license: other\nlicense_name: dinov3-license\n"),
        (
            "FAIR Research License, not for commercial use",
            "other",
            "license: other\nlicense_name: fair-research-license\n",
        ),
    ],
)
def test_published_licences_are_carried(told, name, front):
    found = licence_of(None, told)
    assert (found.name, found.text, found.front_matter) == (name, told, front)


BAD = {
    "another licence than the weights'": (
        ["--to=hf://ada/flowers", "--licence=apache-2.0"],
        "must be that of the weights",
    ),
    "no user": (["--to=hf://flowers"], "`to` must be hf://user/name"),
    "a space": (["--to=hf://ada/my flowers"], "`to` must be hf://user/name"),
    "another hub": (["--to=s3://ada/flowers"], "hf://user/name or kaggle://user/model/framework/variation"),
    "a version": (["--to=hf://ada/flowers@v1"], "without a version"),
    "kaggle with two parts": (["--to=kaggle://ada/flowers"], "`to` must be kaggle://user/model/framework/variation"),
    "an unknown framework": (["--to=kaggle://ada/flowers/caffe/small"], "a framework of tensorFlow2"),
    "another framework": (["--to=kaggle://ada/flowers/keras/small"], "must name the framework tensorFlow2"),
    "public on kaggle": (["--to=kaggle://ada/flowers/tensorFlow2/small", "--public"], "`public` is for hf://"),
    "nowhere": ([], "`PATH` and `to` must be given"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case, exported, clients, capsys):
    words, said = BAD[case]
    assert main(["push", exported, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not clients.made


def test_what_is_no_model_is_refused(own, tmp_path):
    with pytest.raises(InputError, match="there is no such directory"):
        hub.push(tmp_path / "none", "hf://ada/flowers", dry_run=True)
    (tmp_path / "saved_model").mkdir()
    with pytest.raises(InputError, match=r"which is a run: push .*saved_model"):
        hub.push(tmp_path, "hf://ada/flowers", dry_run=True)
    with pytest.raises(InputError, match="`licence` must be given for weights of your own"):
        hub.push(own, "hf://ada/flowers", dry_run=True)
    with pytest.raises(InputError, match="Kaggle has no name for 'mine'"):
        hub.push(own, "kaggle://ada/flowers/keras/small", licence="other:mine", dry_run=True)


class Refused(Exception):
    """What a client raises: the hub's answer is part of it."""

    response = types.SimpleNamespace(status_code=403)


@pytest.mark.parametrize("to", ["hf://ada/flowers", "kaggle://ada/flowers/tensorFlow2/small"])
def test_a_name_without_rights_is_one_line(to, exported, clients, capsys):
    clients.error = Refused("403 Forbidden: you may not write here\nRequest ID: 7")
    assert main(["push", exported, f"--to={to}"]) == 2
    error = capsys.readouterr().err
    assert f"Received: {to}, and it says: 403 Forbidden: you may not write here; " in error
    assert error.count("\n") == 1


def test_a_model_of_a_hub_is_loaded_from_its_clients_cache(clients, tmp_path):
    write(CASES["mae_timm"], tmp_path)
    address = "hf://ada/flowers@v1"
    found = tfcontrastive.load(address)
    assert (found.name, found.facts["licence"]) == (address, NOT_FOR_COMMERCE)
    assert found.fingerprint() == tfcontrastive.load(tmp_path).fingerprint()
    [(name, args, given, _)] = clients.made
    assert (name, args, given["revision"]) == ("snapshot_download", ("ada/flowers",), "v1")


def test_kaggle_is_asked_for_a_version(clients, tmp_path):
    assert hub.local_path("kaggle://ada/flowers/tensorFlow2/small/3") == str(tmp_path)
    assert clients.made[0][:2] == ("model_download", ("ada/flowers/tensorFlow2/small/3",))


@pytest.mark.parametrize(("address", "client", "extra"), [
    ("hf://ada/flowers", "huggingface_hub", "huggingface"), ("kaggle://ada/flowers/keras/small", "kagglehub", "kaggle"),
])  # fmt: skip
def test_a_client_that_is_not_installed_is_named(address, client, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, client, None)
    for given in ({"checkpoint": address}, {"saved_model": address}):
        with pytest.raises(InputError, match=rf"`{next(iter(given))}` {address} needs .*tfcontrastive\[{extra}\]"):
            tfcontrastive.load_trained(**given)


def test_a_model_that_may_not_be_read_is_one_line(clients):
    clients.error = Refused("401 Client Error")
    with pytest.raises(
        InputError, match=r"`path` must be a model that you may use.* Received: hf://ada/no.*hf auth login"
    ):
        tfcontrastive.load("hf://ada/no")
