"""How the results of an evaluation are put into words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tfcontrastive.evaluate.evaluator import PARTS

_PROTOCOLS = {
    "knn": "kNN",
    "linear": "Linear classifier",
    "semi": "Fine-tuning on few labels",
    "curve": "Label efficiency",
    "transfer": "Transfer",
    "robustness": "Robustness to corruptions",
    "ood": "Another domain",
    "invariances": "Invariances",
    "content_style": "Content and style",
    "geometry": "Geometry of the features",
}
_VARIANTS = {"lbfgs": "L-BFGS", "simclr": "SGD as in SimCLR", "moco": "SGD as in MoCo"}
_SETTINGS = {
    "train_split": "training split: {}",
    "eval_split": "test split: {}",
    "image_size": "images of {} pixels",
    "k": "k = {} at most",
    "temperature": "temperature {}",
    "bag_crops": "features are means over {} random crops of each image",
    "bag_area": "crops of {:.0%} of the area",
    "max_iter": "{} iterations at most",
    "validation_fraction": "{:.0%} of training held out to choose the penalty",
    "seed": "seed {}",
    "eval_batch_size": "batches of {}",
    "train_batch_size": "training batches of {}",
    "train_images": "{} training images",
    "eval_images": "{} test images",
    "train_epochs": "{} epochs",
    "fractions": "parts of the labels: {}",
    "ft_proj_selector": "fine-tuned from layer {} of the projection head",
    "crop_min_area": "crops of {:.0%} of the area or more",
}
_WORDS = {
    "loss": "loss",
    "eval_top1": "top-1 accuracy on held-out images",
    "eval_top5": "top-5 accuracy on held-out images",
    "eval_mean_per_class": "mean accuracy over the classes, held-out images",
    "teacher_top1": "the teacher's top-1 accuracy",
    "knn_top1": "kNN top-1 accuracy",
    "knn_top5": "kNN top-5 accuracy",
    "probe_accuracy": "accuracy of the online probe, training views",
    "probe_eval_accuracy": "accuracy of the online probe, held-out images",
    "feature_std": "standard deviation of the features",
    "contrast_acc": "own view found",
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "mean_per_class": "mean accuracy over the classes",
    "k": "neighbours that voted",
    "penalty": "penalty",
    "map": "mean average precision",
}
_PART = re.compile(r"(?P<percent>[\d.e-]+)pct")


def title(result: Mapping[str, Any]) -> str:
    """The protocol in words, with its variant where it has several."""
    name = result["protocol"]
    variant = result["settings"].get(f"{name}_optimizer")
    words = _PROTOCOLS.get(name, name.replace("_", " "))
    crops = result["settings"].get("bag_crops")
    told = [_VARIANTS.get(variant, variant)] if variant else []
    told += [f"bags of {crops} crops"] if crops else []
    return words + (f" ({', '.join(told)})" if told else "")


def heading(result: Mapping[str, Any]) -> str:
    """A section's heading: the protocol, and on what."""
    return title(result) + (f" on {result['dataset']}" if result["dataset"] else "")


def settings_sentence(result: Mapping[str, Any]) -> str:
    """The settings that the values depend on, on one line."""
    settings = [_setting(name, value) for name, value in result["settings"].items() if value is not None]
    settings = [words for words in settings if words]
    seeds = [f"seeds {', '.join(result['runs'])}"] if result["runs"] else []
    line = "; ".join([*settings, *seeds])
    return line[:1].upper() + line[1:] + "." if line else ""


def _setting(name: str, value: Any) -> str:
    if name.endswith("_optimizer") and value in _VARIANTS:
        return ""  # in the heading
    if name in _SETTINGS:
        return _SETTINGS[name].format(value)
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    return f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"


def spoken(name: str, protocol: str) -> str:
    """A value's name without its protocol, in words: knn_mean_per_class -> mean accuracy over the classes."""
    name = name.removeprefix(f"{protocol}_")
    if name in _WORDS:
        return _WORDS[name]
    for ending, words in _WORDS.items():
        if name.endswith(f"_{ending}"):
            return f"{_plain(name.removesuffix(f'_{ending}'))}: {words}"
    return _plain(name)


def interval(metrics: Mapping[str, float], name: str) -> tuple[float, ...]:
    """The ends of a value's 95% interval; nothing where there is none."""
    ends = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    return () if None in ends else ends


def value_rows(result: Mapping[str, Any], *, groups: bool = True) -> tuple[list[str], list[list[str | None]]]:
    """The columns and rows of a table of a result's values, in words, without columns that are empty.

    Args:
        result: `protocol`, `metrics` and, where there are some, `deviations` over seeds and `baselines`.
        groups: also the values of one of many, such as of each corruption.
    """
    metrics, deviations = result["metrics"], result.get("deviations") or {}
    baselines = result.get("baselines") or {}
    rows: list[list[str | None]] = []
    for name, value in metrics.items():
        if any(name.endswith(end) and name.removesuffix(end) in metrics for end in ("_low", "_high")):
            continue
        if "/" in name and not groups:
            continue
        ends = " – ".join(shown(name, end) for end in interval(metrics, name)) or None
        deviation = f"± {shown(name, deviations[name])}" if name in deviations else None
        others = [shown(name, one[name]) if name in one else None for one in baselines.values()]
        rows.append([spoken(name, result["protocol"]), shown(name, value), ends, deviation, *others])
    columns = ["measure", "value", "95% interval", "standard deviation over seeds", *baselines]
    used = [index for index in range(len(columns)) if index < 2 or any(row[index] is not None for row in rows)]
    return [columns[index] for index in used], [[row[index] for index in used] for row in rows]


def _plain(name: str) -> str:
    """A name in words: fine_tuned_1pct -> fine tuned, 1% of the labels."""
    return (
        _PART.sub(r", \g<percent>% of the labels", name)
        .replace("_", " ")
        .replace(" ,", ",")
        .replace("/", ", ")
        .strip(", ")
    )


def shown(name: str, value: float) -> str:
    """A value as it should read: parts of one as percentages, whole numbers as such."""
    if is_part(name):
        return f"{value:.1%}"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1 else f"{value:.4g}"


def is_part(name: str) -> bool:
    """Whether a value of this name is a part of one."""
    return name.split("/")[0].rpartition("_")[2] in PARTS
