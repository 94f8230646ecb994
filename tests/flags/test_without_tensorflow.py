"""Help and mistakes do not wait for TensorFlow, whatever the command; what the light modules repeat is the same."""

import json
import subprocess
import sys

import pytest

from tfcontrastive import augment, optimizers
from tfcontrastive.commands.main import COMMANDS
from tfcontrastive.config import OPTIMIZERS, POLICY_NAMES
from tfcontrastive.config.protocols.linear import LinearSettings
from tfcontrastive.config.protocols.transfer import TRANSFER_SETS
from tfcontrastive.evaluate.linear_sgd import RECIPES
from tfcontrastive.methods import CONFIGS, METHODS
from tfcontrastive.protocols import PROTOCOLS, protocol_class
from tfcontrastive.protocols.tasks import TASKS

HELP = [
    *([command, "--help"] for command in COMMANDS),
    *(["train", f"--method={method}", "--help"] for method in CONFIGS),
    *(["evaluate", f"--protocol={protocol}", "--help"] for protocol in PROTOCOLS),
    ["train", "--train_mode=finetune", "--help"],
]
MISTAKES = [
    *([command, "--no_such_flag=1"] for command in COMMANDS),
    *([command, f"--{flag}=ten"] for command, flag in {
        "demo": "seed", "fit": "minutes", "train": "train_epochs", "evaluate": "k", "finetune": "learning_rate",
        "distill": "temperature",
        "import": "version", "plan": "replicas", "export": "image_size", "embed": "batch_size", "search": "k",
    }.items()),
    ["train", "--temperature=-1"],
    ["fit", "embedded", "--temperature=-1"],
    ["fit", "no/such/folder/"],
    ["train", "--augmentation=simclr3"],
    ["train", "--optimizer=lamp"],
    ["train", "--method=simcrl"],
    ["train", "--recipe=simclr_cifar"],
    ["finetune", "--ema_decay=2"],
    ["distill", "--alpha=2"],
    ["plan", "--hardware=a101"],
    ["evaluate", "--protocol=knm"],
    ["evaluate", "--k=0"],
    ["evaluate", "--k=3"],
]  # fmt: skip
CODE = """
import contextlib, io, json, sys
from tfcontrastive.commands.main import main

found = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    slow = sorted({"tensorflow", "keras", "sklearn", "tensorflow_datasets"} & set(sys.modules))
    found.append([words, code, out.getvalue(), err.getvalue(), slow])
    if slow:
        break
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def answers():
    """Of every command line, one after another in one process that must not import TensorFlow."""
    argv = json.dumps([*HELP, *MISTAKES])
    run = subprocess.run([sys.executable, "-c", CODE, argv], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_no_command_imports_tensorflow_to_read_its_flags(answers):
    slow = [(argv, modules) for argv, _, _, _, modules in answers if modules]
    assert not slow
    assert len(answers) == len(HELP) + len(MISTAKES)


def test_help_is_shown_and_a_mistake_is_one_line(answers):
    for argv, code, out, err, _ in answers:
        if "--help" in argv:
            assert (code, err) == (0, "")
            assert "--" in out
        else:
            assert code == 2, argv
            assert (out, len(err.strip().splitlines())) == ("", 1), argv


def test_what_is_told_without_tensorflow_is_what_there_is():
    assert OPTIMIZERS == optimizers.NAMES
    assert tuple(augment.POLICIES) == POLICY_NAMES
    assert tuple(TASKS) == TRANSFER_SETS
    assert set(LinearSettings.__dataclass_fields__["linear_optimizer"].metadata["choices"]) == {
        "lbfgs",
        *RECIPES,
    }
    assert {name: kind.Config for name, kind in METHODS.items()} == CONFIGS


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_evaluator_has_its_settings_and_no_others(protocol):
    kind, settings = protocol_class(protocol), PROTOCOLS[protocol]
    assert issubclass(kind, settings)
    assert kind.__dataclass_fields__.keys() == settings.__dataclass_fields__.keys()
    assert kind() == kind(**vars(settings()))
    assert kind.__doc__.strip().splitlines()[0] == settings.__doc__.strip().splitlines()[0]
