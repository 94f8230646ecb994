"""The `tfcontrastive` program: finds the command, imports it only then, and turns mistakes into one line."""

from __future__ import annotations

import errno
import importlib
import io
import keyword
import os
import select
import signal
import sys
from collections.abc import Sequence

from tfcontrastive.config import ClusterError, InputError, unknown
from tfcontrastive.system import onednn, signals

COMMANDS = {
    "fit": "your own images, one command: an encoder in so many minutes, measured and ready to use",
    "adapt": "go on training an encoder with your own images, and keep it only where that helped",
    "demo": "SimCLR on real images that ship inside, with proof and pictures, in a few minutes on a CPU",
    "train": "learn an encoder from unlabelled images",
    "evaluate": "what an encoder is worth: kNN, linear probe, robustness and others",
    "finetune": "a trained encoder and labels become a classifier",
    "distill": "a student learns from a teacher's answers or features on unlabelled images",
    "import": "weights that others have published, as a model of this package",
    "plan": "what a run would take of memory, network and time, on any number of replicas",
    "export": "a trained run as a SavedModel for every consumer, or as a LiteRT or ONNX file",
    "push": "an export to Hugging Face or Kaggle, with its card and licence",
    "embed": "a collection of images to files of vectors",
    "search": "nearest neighbours and near duplicates among them",
    "serve-check": "load an export in each of its consumers, and compare",
}

SERVING = ("embed", "search", "serve-check")  # run as a server would: with TensorFlow's own choice of kernels


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments after the program's name; default: the process's.

    Returns:
        the exit code: 0; 2 for a mistake in what was given, 1 for a lost worker, 128 + its number for a signal to end, all
        told in one line on stderr.
    """
    try:
        code = _run(argv)
        if sys.stdout is not None:  # of a process that was started without one
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _reader_has_left():
            raise
        return 128 + signal.SIGPIPE


def _run(argv: Sequence[str] | None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path need not be UTF-8
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] == "--version":
        import tfcontrastive

        print(tfcontrastive.__version__)
        return 0
    try:
        if argv[0] not in COMMANDS:
            raise InputError(f"the command {unknown(argv[0], COMMANDS)}")
        if argv[0] in SERVING:
            onednn.leave_to_tensorflow()
        with (
            signals.handled(_stop, signals.STOP),
            signals.handled(lambda _: None, signals.SAVE if _trains(argv) else ()),
        ):
            return importlib.import_module(_module(argv[0])).run(argv[1:]) or 0
    except InputError as error:
        return _fail(str(error))
    except ClusterError as error:
        return _fail(str(error), code=1)
    except signals.Stopped as stopped:
        return _fail(str(stopped), code=stopped.code)
    except KeyboardInterrupt:
        return _fail("stopped. Start the same command again to go on from the last checkpoint.", code=130)
    except Exception as error:
        if _disk_is_full(error):
            return _fail("the disk is full: make room and start the same command again; earlier checkpoints are kept.")
        if "IteratorGetNext" in str(error):  # TensorFlow's op that asks the input pipeline for a batch
            from tfcontrastive.data.images import reason

            return _fail(f"an image cannot be read: {reason(error).rstrip('.')}. Earlier checkpoints are kept.")
        raise


def _module(command: str) -> str:
    """The module of a command; Python's own words take an underscore: `import_`."""
    name = command.replace("-", "_")
    return f"tfcontrastive.commands.{name}_" if keyword.iskeyword(name) else f"tfcontrastive.commands.{name}"


def usage() -> str:
    """The program's help; it does not need TensorFlow."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "Contrastive self-supervised learning for TensorFlow and Keras.",
            "",
            "Usage: tfcontrastive COMMAND [--flag=value ...]",
            "",
            "Commands:",
            *lines,
            "",
            "`tfcontrastive COMMAND --help` shows a command's flags.",
        ]
    )


def import_tensorflow() -> None:
    """Imports TensorFlow without its start-up messages, unless the environment asks for them.

    A command calls it once its flags are understood, so that help and mistakes do not wait for it.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    from tfcontrastive.commands.logs import quiet_stderr

    with quiet_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()


def _trains(argv: Sequence[str]) -> bool:
    """Whether a command saves checkpoints: a signal to save, before or after its training, is then none to end."""
    return argv[0] in ("fit", "adapt", "demo", "train", "finetune", "distill")


def _stop(number: int) -> None:
    raise signals.Stopped(number, f"stopped by {signals.name_of(number)}. Start the same command again to go on.")


def _reader_has_left() -> bool:
    """Whether nobody reads our output any more, as after `| head`; what is left of it then goes nowhere."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    left = any(event & select.POLLERR for _, event in poll.poll(0))
    if left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return left


def _fail(message: str, code: int = 2) -> int:
    print(f"tfcontrastive: {' '.join(message.split())}", file=sys.stderr)
    return code


def _disk_is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "No space left on device" in str(error)


if __name__ == "__main__":
    sys.exit(main())
