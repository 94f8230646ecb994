"""The twelve data sets of SimCLR's Table 8, with the splits and the metric of each."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Task:
    """One data set.

    Attributes:
        dataset: as `tfcontrastive.data.load` takes it; `folder:NAME` lies in data_dir.
        train, test: splits; settings are chosen on a part of train.
        metric: top1, mean_per_class, or map (the 11-point mean average precision of several labels an image).
    """

    dataset: str
    train: str
    test: str
    metric: str


TASKS = {
    "food101": Task("food101", "train", "validation", "top1"),
    "cifar10": Task("cifar10", "train", "test", "top1"),
    "cifar100": Task("cifar100", "train", "test", "top1"),
    "birdsnap": Task("folder:birdsnap", "train", "test", "top1"),
    "sun397": Task("sun397/standard-part1-120k", "train", "test", "top1"),
    "cars": Task("cars196", "train", "test", "top1"),
    "aircraft": Task("folder:fgvc_aircraft", "train", "test", "mean_per_class"),
    "voc2007": Task("voc/2007", "train+validation", "test", "map"),
    "dtd": Task("dtd", "train+validation", "test", "top1"),
    "pets": Task("oxford_iiit_pet", "train", "test", "mean_per_class"),
    "caltech101": Task("caltech101", "train", "test", "mean_per_class"),
    "flowers": Task("oxford_flowers102", "train+validation", "test", "mean_per_class"),
}
"""Source: arXiv 2002.05709, appendix B.8 and its Table 8. Birdsnap and FGVC Aircraft are not in tensorflow-datasets: put
them in folders `train` and `test`, a folder a class, below data_dir."""
