"""A run of `record.py` with lightly 1.6 on PyTorch: a method by the clock, its features written down on the way.

Augmentation, heads and losses are lightly's, as its examples for CIFAR-10 put them together; the network is its ResNet-18
for small images. The rate is AdamW's .002 for 128 images, in which all its methods learned more in minutes than with SGD,
after a warm-up of a tenth and along a cosine. Channels last; bfloat16 where that is the faster of the two here.
"""

import argparse
import json
import math
import pathlib
import time

BEGUN = {"wall": time.monotonic(), "processor": time.process_time()}

import lightly.loss  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from lightly import transforms  # noqa: E402
from lightly.models import ResNetGenerator, modules  # noqa: E402
from lightly.models.utils import deactivate_requires_grad, update_momentum  # noqa: E402
from PIL import Image  # noqa: E402
from record import MEASURED, POINTS  # noqa: E402
from torch import nn  # noqa: E402

BATCH = 128


class Views(torch.utils.data.Dataset):
    def __init__(self, images, transform):
        self.images, self.transform = images, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return self.transform(Image.fromarray(image.squeeze() if image.shape[-1] == 1 else image).convert("RGB"))


class Method(nn.Module):
    """A network with what its method puts on top."""

    def __init__(self, name, width):
        super().__init__()
        network = ResNetGenerator("resnet-18", width=width)
        self.backbone = nn.Sequential(*list(network.children())[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.name, size = name, int(512 * width)
        heads = {
            "simclr": lambda: modules.SimCLRProjectionHead(size, size, 128),
            "dcl": lambda: modules.SimCLRProjectionHead(size, size, 128),
            "moco": lambda: modules.MoCoProjectionHead(size, size, 128),
            "swav": lambda: modules.SwaVProjectionHead(size, 512, 128),
            "fastsiam": lambda: modules.SimSiamProjectionHead(size, 512, 512),
            "vicreg": lambda: modules.heads.VICRegProjectionHead(size, 1024, 1024, 3),
            "barlow_twins": lambda: modules.BarlowTwinsProjectionHead(size, 1024, 1024),
        }
        losses = {
            "simclr": lambda: lightly.loss.NTXentLoss(temperature=0.2),
            "dcl": lambda: lightly.loss.DCLLoss(temperature=0.2),
            "moco": lambda: lightly.loss.NTXentLoss(temperature=0.2, memory_bank_size=(4096, 128)),
            "swav": lambda: lightly.loss.SwaVLoss(),
            "fastsiam": lambda: lightly.loss.NegativeCosineSimilarity(),
            "vicreg": lambda: lightly.loss.VICRegLoss(),
            "barlow_twins": lambda: lightly.loss.BarlowTwinsLoss(),
        }
        self.head, self.criterion = heads[name](), losses[name]()
        if name == "moco":
            import copy

            self.slow = copy.deepcopy(nn.Sequential(self.backbone, self.head))
            deactivate_requires_grad(self.slow)
        if name == "swav":
            self.prototypes = modules.SwaVPrototypes(128, n_prototypes=128)
        if name == "fastsiam":
            self.predictor = modules.SimSiamPredictionHead(512, 128, 512)

    def forward(self, views):
        groups = [torch.cat(views[:2])] if self.name == "swav" else [torch.cat(views)]
        if self.name == "swav" and len(views) > 2:
            groups.append(torch.cat(views[2:]))
        z = torch.cat([self.backbone(group) for group in groups])
        z = self.head(z)
        parts = z.float().chunk(len(views))
        if self.name == "swav":
            self.prototypes.normalize()
            z = [nn.functional.normalize(one, dim=1) for one in parts]
            logits = [self.prototypes(one).float() for one in z]
            return self.criterion(logits[:2], logits[2:])
        if self.name == "fastsiam":
            guesses = self.predictor(z).float().chunk(len(views))
            total = 0.0
            for index, guess in enumerate(guesses):
                others = [one.detach() for other, one in enumerate(parts) if other != index]
                total = total + self.criterion(guess, torch.stack(others).mean(0)) / len(parts)
            return total
        if self.name == "moco":
            with torch.no_grad():
                online = nn.Sequential(self.backbone, self.head)
                update_momentum(online, self.slow, m=0.99)
                key = self.slow(views[1]).float()
            return self.criterion(parts[0], key)
        return self.criterion(*parts)


def transform_of(name, size):
    if name == "swav":
        small = max(8, size // 2)
        return transforms.SwaVTransform(
            crop_sizes=(size, small), crop_counts=(2, 4), crop_min_scales=(0.5, 0.15), crop_max_scales=(1.0, 0.5),
            gaussian_blur=0.0,
        )  # fmt: skip
    if name == "fastsiam":
        return transforms.FastSiamTransform(num_views=4, input_size=size, gaussian_blur=0.0, min_scale=0.5)
    kinds = {"moco": transforms.MoCoV2Transform, "vicreg": transforms.VICRegTransform}
    kind = kinds.get(name, transforms.SimCLRTransform)
    return kind(input_size=size, gaussian_blur=0.0, min_scale=0.5)


def main():
    parser = argparse.ArgumentParser()
    for name, kind in (("name", str), ("data", str), ("folder", str), ("seed", int), ("threads", int)):
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--width", type=float)
    parser.add_argument("--clock")
    options = parser.parse_args()
    now_of = time.process_time if options.clock == "processor" else time.monotonic
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    held = np.load(options.data)
    images = {name: held[f"{name}_images"] for name in ("train", "test")}
    size = images["train"].shape[1]
    data = Views(images["train"], transform_of(options.name, size))
    loader = torch.utils.data.DataLoader(
        data, BATCH, shuffle=True, drop_last=True, num_workers=options.threads if options.threads > 1 else 0,
        persistent_workers=options.threads > 1,
    )  # fmt: skip
    begun, stopped = BEGUN[options.clock], 0.0
    method = Method(options.name, options.width).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        (weight for weight in method.parameters() if weight.requires_grad), lr=0.002, weight_decay=1e-4
    )

    def endless():
        while True:
            for batch in loader:
                views = batch[0] if isinstance(batch[0], (list, tuple)) else batch
                yield [view.to(memory_format=torch.channels_last) for view in views]

    batches = endless()

    def step(views, low):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            loss = method(views)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return loss

    def seconds_of(low, count=6):
        views = next(batches)
        step(views, low)
        start = now_of()
        for _ in range(count):
            step(views, low)
        return (now_of() - start) / count

    def features(name):
        method.eval()
        found = []
        with torch.inference_mode():
            for start in range(0, min(MEASURED, len(images[name])), 256):
                part = torch.from_numpy(images[name][start : start + 256][:MEASURED]).float() / 255
                part = part.permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
                part = (part - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
                    [0.229, 0.224, 0.225]
                )[:, None, None]
                found.append(method.backbone(part.contiguous(memory_format=torch.channels_last)).float().numpy())
        method.train()
        return np.concatenate(found)[:MEASURED]

    method.train()
    low = seconds_of(True) < seconds_of(False)
    total, done, points = 60 * options.minutes, 0, []
    marks = list(POINTS)
    while marks:
        share = min((now_of() - begun - stopped) / total, 1.0)
        warm = min(share / 0.1, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 0.002 * warm * 0.5 * (1 + math.cos(math.pi * max(0.0, (share - 0.1) / 0.9)))
        loss = step(next(batches), low)
        optimizer.step()
        done += 1
        spent = now_of() - begun - stopped
        if spent >= marks[0] * total:
            marks.pop(0)
            if not math.isfinite(loss.item()):
                raise SystemExit(f"{options.name}: the loss is not finite.")
            now = now_of()
            np.savez(f"{options.folder}/{len(points)}.npz", **{name: features(name) for name in images})
            points.append({"seconds": spent, "steps": done})
            stopped += now_of() - now
    facts = {"points": points, "batch": BATCH, "precision": "bfloat16" if low else "float32", "method": options.name}
    facts["parameters"] = sum(weight.numel() for weight in method.backbone.parameters())
    pathlib.Path(options.folder, "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
