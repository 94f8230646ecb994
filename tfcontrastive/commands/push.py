"""`tfcontrastive push`: an export, or a preset of keras_hub, to a model hub."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.config import InputError

TITLE = """tfcontrastive push PATH: upload a model with its card, licence and preprocessing, by the hub's own client.

PATH is an export (or the base of its versions), or a folder that `export --format=keras_hub` wrote. Log in first, with
`hf auth login` or a token of Kaggle's. Weights that others published keep their licence.

Example: tfcontrastive push runs/photos/saved_model --to=hf://ada/flowers --licence=apache-2.0 --dry_run"""


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and uploads, or lists what would be."""
    values = flags.FlagValues()
    flags.DEFINE_string("to", None, "hf://user/name or kaggle://user/model/framework/variation.", values)
    flags.DEFINE_string(
        "licence", None, "Of weights of your own: apache-2.0, mit, cc-by-4.0, ..., or other:NAME.", values
    )
    flags.DEFINE_boolean("public", False, "Make a new repository of Hugging Face public; default: private.", values)
    flags.DEFINE_string("message", "Upload by tfcontrastive", "Of the commit or the version.", values)
    flags.DEFINE_boolean("dry_run", False, "List what would be uploaded. No network and no client is needed.", values)
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(command_line.help_text(TITLE, {"Flags": values}))
        return 0
    paths = command_line.parse(command_line.expand(argv), values, positional=True)
    if len(paths) != 1 or values["to"].value is None:
        raise InputError(
            f"`PATH` and `to` must be given: tfcontrastive push PATH --to=hf://user/name. Received: {len(paths)} paths, "
            f"to={values['to'].value}."
        )
    from tfcontrastive import hub

    options = {name: values[name].value for name in ("to", "licence", "public", "message", "dry_run")}
    upload = hub.push(paths[0], **options)
    address = hub.HubAddress.parse(options["to"], "to")
    if options["dry_run"]:
        print(f"{upload}\nwould go to {address.url}. Its README.md:\n\n{upload.readme.rstrip()}")
    else:
        print(f"{len(upload.files)} files, {upload.total:,} bytes: {address.url}")
    return 0
