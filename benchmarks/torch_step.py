"""The bare step of `train_step.py` in PyTorch: the same ResNet, projection head, loss and optimizer."""

import argparse

import torch
from torch import nn
from torch.nn import functional
from train_step import serve


def conv_norm(inputs, outputs, size, stride=1):
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, momentum=0.1))


class Residual(nn.Module):
    """Two 3x3 convolutions, or a bottleneck, beside the shortcut; the first of a group projects it, as in SimCLR."""

    def __init__(self, inputs, filters, stride, project, bottleneck):
        super().__init__()
        if bottleneck:
            outputs, sizes = 4 * filters, [(filters, 1, 1), (filters, 3, stride), (4 * filters, 1, 1)]
        else:
            outputs, sizes = filters, [(filters, 3, stride), (filters, 3, 1)]
        layers = []
        width = inputs
        for units, size, step in sizes:
            layers += [conv_norm(width, units, size, step), nn.ReLU(inplace=True)]
            width = units
        self.main = nn.Sequential(*layers[:-1])
        self.shortcut = conv_norm(inputs, outputs, 1, stride) if project else nn.Identity()
        self.outputs = outputs

    def forward(self, x):
        return functional.relu(self.main(x) + self.shortcut(x), inplace=True)


class Network(nn.Module):
    """ResNet, with the stem of small images or of large ones, and the two-layer projection head."""

    def __init__(self, depth, width, large):
        super().__init__()
        bottleneck = depth >= 50
        counts = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]
        channels = int(64 * width)
        layers = [conv_norm(3, channels, 7, 2) if large else conv_norm(3, channels, 3), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(3, 2, 1)] if large else []
        for group, count in enumerate(counts):
            for block in range(count):
                stride = 2 if group and not block else 1
                layers.append(Residual(channels, int(64 * 2**group * width), stride, not block, bottleneck))
                channels = layers[-1].outputs
        self.encoder = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(channels, channels, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, 128, bias=False),
            nn.BatchNorm1d(128),
        )

    def forward(self, x):
        return self.head(self.encoder(x).mean((2, 3)))


def bare_step(options):
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True  # as TensorFlow has it, and as PyTorch has its convolutions
    torch.backends.cudnn.benchmark = True
    network = Network(options.depth, options.width, options.image_size > 64)
    network = network.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    if options.serve == "torch-compiled":
        network = torch.compile(network)
    shape = (options.batch, 3, options.image_size, options.image_size)
    views = [torch.rand(shape, device=device).to(memory_format=torch.channels_last) for _ in range(2)]
    rows = torch.arange(options.batch, device=device)
    dtype = None if options.precision == "float32" else getattr(torch, options.precision)
    positives = torch.cat([rows + options.batch, rows])

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            z = network(torch.cat(views))
        z = functional.normalize(z.float(), dim=1)
        logits = z @ z.t() / 0.1 - 1e9 * torch.eye(2 * options.batch, device=device)
        loss = functional.cross_entropy(logits, positives)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--depth", type=int)
    parser.add_argument("--width", type=float)
    parser.add_argument("--precision")
    parser.add_argument("--image_size", type=int)
    parser.add_argument("--batch", type=int)
    serve(bare_step(parser.parse_args()))
