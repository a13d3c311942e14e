"""The same ResNet-18 in four training loops: images a second of one epoch of CIFAR-100, in turns in one run.

    pip install lightning
    python benchmarks/peers.py --images 5000 --rounds 3

Every loop trains torchvision's ResNet-18 with a 3 x 3 stem and no pooling before its blocks, 100 classes, in fp32, with
batches of 128, SGD with momentum, crops and flips:

- pocketlens: this package's loop, with its own net of the same layers and number of parameters;
- PyTorch: a plain loop with torchvision's v2 transforms and two workers that load;
- timm: its loader, optimizer and transforms, in the loop that its training script has;
- Lightning: its Trainer, with the data set and loader of the plain loop.

Each run is a process of its own. Its clock starts after the first batch, which waits for whatever starts with it, and
ends with the last step. Medians are printed, and ratios to the plain loop.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

BATCH, WORKERS, LR = 128, 2, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000, help="of the training images; a whole epoch has 50,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--loop", choices=LOOPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.loop is not None:
        print(json.dumps(images_per_second(args.loop, args.images, args.threads)))
        return
    measured: dict[str, list[float]] = {name: [] for name in LOOPS}
    for _ in range(args.rounds):
        for name, speeds in measured.items():
            speeds.append(in_a_process(name, args))
    plain = statistics.median(measured["PyTorch"])
    for name, speeds in measured.items():
        speed = statistics.median(speeds)
        rounds = ", ".join(f"{each:.0f}" for each in speeds)
        print(f"{name:<11}{speed:7.0f} images/s, {speed / plain:.2f} times the plain loop (rounds: {rounds})")


def in_a_process(name: str, args: argparse.Namespace) -> float:
    words = [sys.executable, __file__, "--loop", name, "--images", str(args.images), "--threads", str(args.threads)]
    out = subprocess.run(words, capture_output=True, text=True, check=False)
    if out.returncode:
        sys.exit(f"{name}: {out.stderr[-1500:]}")
    return float(json.loads(out.stdout.splitlines()[-1]))


def images_per_second(name: str, n: int, threads: int) -> float:
    """Of the steps after the first one."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    moments = list(LOOPS[name](n))
    steps = [later - earlier for earlier, later in pairwise(moments)]
    return BATCH * len(steps) / sum(steps)


def training_images(n: int) -> Any:
    """The first n training images of CIFAR-100, as pocketlens loads them."""
    import numpy as np

    from pocketlens.datasets import load

    return load("cifar100").dataset.take(np.arange(n))


def ours(n: int) -> Iterator[float]:
    """The moments at which steps end."""
    import tempfile

    from pocketlens.data.split import make_split
    from pocketlens.events import Progress
    from pocketlens.recipe import Experiment, Recipe
    from pocketlens.training.run import Run
    from pocketlens.training.train import train

    dataset = training_images(n)
    recipe = Recipe(
        model="resnet(depth=18)", augment="crop(pad=4) | flip", sizes="100%", optimizer="sgd(momentum=0.9)",
        lr=LR, batch_size=BATCH, epochs=1.0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        split = make_split(dataset, val_fraction=0.0)
        experiment = Experiment(dataset.text, recipe, val_fraction=0.0, data_fingerprint=dataset.fingerprint)
        for event in train(Run.create(experiment, split, Path(folder)), dataset):
            if isinstance(event, Progress):
                yield time.perf_counter()


def resnet() -> Any:
    """torchvision's ResNet-18 for small images."""
    from torch import nn
    from torchvision.models import resnet18

    net = resnet18(num_classes=100)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


def plain_loader(n: int) -> Any:
    """Images as tensors, augmented by torchvision's v2 transforms in two workers."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.transforms import v2

    dataset = training_images(n)
    images = torch.from_numpy(dataset.images.copy()).permute(0, 3, 1, 2)
    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
        ]
    )

    class Images(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return n

        def __getitem__(self, index: int) -> Any:
            return transform(images[index]), int(dataset.labels[index])

    return DataLoader(Images(), BATCH, shuffle=True, num_workers=WORKERS, drop_last=True)


def plain(n: int) -> Iterator[float]:
    import torch
    from torch.nn.functional import cross_entropy

    net, loader = resnet(), plain_loader(n)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9)
    for images, labels in loader:
        optimizer.zero_grad()
        cross_entropy(net(images), labels).backward()
        optimizer.step()
        yield time.perf_counter()


def by_timm(n: int) -> Iterator[float]:
    import torch
    from PIL import Image
    from timm.data import create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2

    dataset = training_images(n)

    class Images(torch.utils.data.Dataset):  # type: ignore[type-arg]
        transform: Any = None

        def __len__(self) -> int:
            return n

        def __getitem__(self, index: int) -> Any:
            return self.transform(Image.fromarray(dataset.images[index])), int(dataset.labels[index])

    net = resnet().train()
    loader = create_loader(
        Images(), (3, 32, 32), BATCH, is_training=True, use_prefetcher=False, no_aug=False, scale=(1.0, 1.0),
        ratio=(1.0, 1.0), hflip=0.5, color_jitter=None, num_workers=WORKERS, device=torch.device("cpu"),
    )  # fmt: skip
    optimizer = create_optimizer_v2(net, "sgd", lr=LR, momentum=0.9)
    loss_of = LabelSmoothingCrossEntropy(0.0)
    for images, labels in loader:
        optimizer.zero_grad()
        loss_of(net(images), labels).backward()
        optimizer.step()
        yield time.perf_counter()


def by_lightning(n: int) -> Iterator[float]:
    import lightning
    import torch
    from torch.nn.functional import cross_entropy

    moments: list[float] = []

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = resnet()

        def training_step(self, batch: Any, _: int) -> Any:
            return cross_entropy(self.net(batch[0]), batch[1])

        def on_train_batch_end(self, *_: Any) -> None:
            moments.append(time.perf_counter())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=LR, momentum=0.9)

    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), plain_loader(n))
    yield from moments


LOOPS = {"pocketlens": ours, "PyTorch": plain, "timm": by_timm, "Lightning": by_lightning}

if __name__ == "__main__":
    main()
