"""What a command says while it runs: this package's own messages, and everybody's warnings."""

from __future__ import annotations

import logging as python_logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from absl import flags as absl_flags
from absl import logging

import tfcontrastive


def show_own_messages() -> None:
    """absl's log goes to stderr as plain lines; information from other libraries is left out.

    The work begins here: TensorFlow is imported.
    """
    from tfcontrastive import export, flags
    from tfcontrastive.commands.main import import_tensorflow

    import_tensorflow()

    homes = tuple(os.path.dirname(module.__file__) + os.sep for module in (tfcontrastive, flags, export))
    absl_flags.FLAGS.mark_as_parsed()  # else absl warns that its own flags were never looked at
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    logging.set_stderrthreshold("info")
    tensorflow = python_logging.getLogger("tensorflow")
    tensorflow.setLevel(python_logging.WARNING)
    tensorflow.handlers.clear()  # made while stderr was held back; absl's handler shows the same
    # Several encoders are measured one after the other, each traced once: nothing that its user could change.
    tensorflow.addFilter(lambda record: "triggered tf.function retracing" not in record.getMessage())
    handler = logging.get_absl_handler()
    handler.addFilter(lambda record: record.levelno >= python_logging.WARNING or record.pathname.startswith(homes))
    handler.setFormatter(python_logging.Formatter("%(message)s"))


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Holds back what libraries write to stderr inside; shows it if the inside fails. Python's own words are not held.

    TensorFlow's libraries print while they are loaded, before any setting of theirs can keep them from it.
    """
    sys.stderr.flush()
    kept, inside = os.dup(2), tempfile.TemporaryFile()  # noqa: SIM115
    before = sys.stderr
    if getattr(before, "rich_proxied_file", before) is sys.__stderr__:  # else it does not end in descriptor 2
        sys.stderr = os.fdopen(os.dup(kept), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    os.dup2(inside.fileno(), 2)
    try:
        yield
    except BaseException:
        inside.seek(0)
        os.write(kept, inside.read())
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        inside.close()
        if sys.stderr is not before:
            sys.stderr.close()
            sys.stderr = before
