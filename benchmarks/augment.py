"""Images per second of every augmentation: ours on a batch against torchvision v2, and kornia where it is installed.

    python benchmarks/augment.py                       every augmentation, 1,000 images of 32 px, one thread and two
    python benchmarks/augment.py --only autoaugment augmix --rounds 9 --threads 1
    python benchmarks/augment.py --device cuda --threads 1
    python benchmarks/augment.py --json augment.json   the same numbers, and those of every round, in a file

Ours and kornia work on the whole batch, float32, with a draw for every image. torchvision draws once for a whole batch,
so it runs image by image, as in a data loader, on uint8 tensors and on Pillow's images; their conversion is not
counted. All alternate in one run; rates are medians over rounds, and "times faster" is the median of the ratios of each
round, whose two measurements follow each other, so that a busy machine slows both. `--clock cpu` counts the processor
time of this process instead of the elapsed time. The images are those of CIFAR-100 if $POCKETLENS_DATA has them, else
noise; they are in memory as in training (channels last) and are the same for all.

The target: 10 times torchvision, on tensors and on Pillow's images, for AutoAugment and AugMix, and never slower than
kornia. What misses it is listed at the end, and the exit code is then 1.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pocketlens.components import names, parse_one, resolve
from pocketlens.draws import Draws
from pocketlens.training.device import keep_freed_memory

# ours, torchvision.transforms.v2, kornia.augmentation; a dash where there is none
PAIRS = {
    "flip": ("RandomHorizontalFlip()", "RandomHorizontalFlip()"),
    "vertical_flip": ("RandomVerticalFlip()", "RandomVerticalFlip()"),
    "crop(pad=2)": ("RandomCrop(32, padding=2, padding_mode='reflect')", "RandomCrop((32, 32), padding=2)"),
    "rotation(degrees=15)": ("RandomRotation(15, bilinear)", "RandomRotation(15.0, p=1.0)"),
    "translation(fraction=0.1)": (
        "RandomAffine(0, translate=(0.1, 0.1))",
        "RandomAffine(0.0, translate=(0.1, 0.1), p=1.0)",
    ),
    "shear(degrees=10)": ("RandomAffine(0, shear=10, interpolation=bilinear)", "RandomShear((-10.0, 10.0), p=1.0)"),
    "zoom(low=0.9, high=1.1)": (
        "RandomAffine(0, scale=(0.9, 1.1), interpolation=bilinear)",
        "RandomAffine(0.0, scale=(0.9, 1.1), p=1.0)",
    ),
    "affine(degrees=10)": (
        "RandomAffine(10, (0.1, 0.1), (0.9, 1.1), 5, bilinear)",
        "RandomAffine(10.0, (0.1, 0.1), (0.9, 1.1), 5.0, p=1.0)",
    ),
    "perspective(p=1.0)": ("RandomPerspective(0.5, 1.0)", "RandomPerspective(0.5, p=1.0)"),
    "random_resized_crop": ("RandomResizedCrop(32)", "RandomResizedCrop((32, 32))"),
    "brightness(strength=0.4)": ("ColorJitter(brightness=0.4)", "ColorJitter(brightness=0.4, p=1.0)"),
    "contrast(strength=0.4)": ("ColorJitter(contrast=0.4)", "ColorJitter(contrast=0.4, p=1.0)"),
    "saturation(strength=0.4)": ("ColorJitter(saturation=0.4)", "ColorJitter(saturation=0.4, p=1.0)"),
    "hue(strength=0.1)": ("ColorJitter(hue=0.1)", "ColorJitter(hue=0.1, p=1.0)"),
    "colour_jitter": ("ColorJitter(0.4, 0.4, 0.4, 0.1)", "ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0)"),
    "channel_shift": ("-", "RandomRGBShift(0.1, 0.1, 0.1, p=1.0)"),
    "solarize": ("RandomSolarize(128)", "RandomSolarize(0.0, 0.0, p=0.5)"),
    "posterize": ("RandomPosterize(4)", "RandomPosterize(4.0, p=0.5)"),
    "equalize": ("RandomEqualize()", "RandomEqualize(p=0.5)"),
    "autocontrast": ("RandomAutocontrast()", "RandomAutoContrast(p=0.5)"),
    "invert": ("RandomInvert()", "RandomInvert(p=0.5)"),
    "sharpness": ("RandomAdjustSharpness(2)", "RandomSharpness(2.0, p=0.5)"),
    "grey": ("RandomGrayscale(0.2)", "RandomGrayscale(p=0.2)"),
    "cutout": ("-", "-"),
    "random_erasing(fill=0.0)": ("RandomErasing(0.5)", "RandomErasing(p=0.5)"),
    "random_erasing": ("-", "-"),
    "mixup": ("-", "RandomMixUpV2(p=1.0)"),
    "cutmix": ("-", "RandomCutMixV2(p=1.0)"),
    "fmix": ("-", "-"),
    "autoaugment": ("AutoAugment(AutoAugmentPolicy.CIFAR10)", "auto.AutoAugment('cifar10')"),
    "autoaugment(policy='imagenet')": ("AutoAugment(AutoAugmentPolicy.IMAGENET)", "auto.AutoAugment('imagenet')"),
    "autoaugment(policy='svhn')": ("AutoAugment(AutoAugmentPolicy.SVHN)", "auto.AutoAugment('svhn')"),
    "randaugment": ("RandAugment()", "auto.RandAugment(n=2, m=9)"),
    "trivialaugment": ("TrivialAugmentWide()", "auto.TrivialAugment()"),
    "augmix": ("AugMix(all_ops=False)", "-"),
}
TARGETED = ("mixup", "cutmix")  # kornia's want labels
OTHERS = ("torchvision", "Pillow", "kornia")
TEN_TIMES = ("autoaugment", "augmix")  # torchvision's two ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--torchvision-images", type=int, default=200, help="of the batch, each round (default 200)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--json", type=Path, help="write all numbers into this file")
    parser.add_argument("--only", nargs="+", default=[], help="names of augmentations, without options")
    args = parser.parse_args()
    keep_freed_memory()
    missing = set(names("augment")) - {text.split("(")[0] for text in PAIRS}
    if missing:
        sys.exit(f"no line in PAIRS for {', '.join(sorted(missing))}")
    levels, what = pictures(args.batch_size)
    levels = levels.to(args.device)
    versions = ", ".join(f"{name} {version_of(name)}" for name in ("torch", "torchvision", "pillow", "kornia"))
    where = (
        torch.cuda.get_device_name() if args.device.startswith("cuda") else platform.processor() or platform.machine()
    )
    print(f"{args.batch_size} images of {what}, 32 px; {args.device} ({where}); {versions}; {args.clock} seconds")
    lines: list[dict[str, Any]] = []
    for n_threads in args.threads:
        torch.set_num_threads(n_threads)
        print(
            f"\n{n_threads} {'thread' if n_threads == 1 else 'threads'}: images per second, and how many times faster"
        )
        print("\n| augmentation | ours | torchvision | Pillow | kornia | x torchvision | x Pillow | x kornia |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|", flush=True)
        for text, (theirs, kornias) in PAIRS.items():
            if not args.only or text.split("(")[0] in args.only:
                line = {"threads": n_threads, "augmentation": text, **measure(text, theirs, kornias, levels, args)}
                lines.append(line)
                print(as_markdown(line), flush=True)
    if args.json:
        facts = {"images": what, "device": args.device, "where": where, "versions": versions, "clock": args.clock}
        args.json.write_text(json.dumps({**facts, "batch_size": args.batch_size, "lines": lines}, indent=1) + "\n")
    short = [said for line in lines for said in shortfalls(line)]
    print("\n" + ("\n".join(short) if short else "every aim is met"))
    sys.exit(bool(short))


def measure(text: str, theirs: str, kornias: str, levels: Tensor, args: argparse.Namespace) -> dict[str, Any]:
    """Times what there is of the four in turn: rates and ratios, medians of the rounds, and all rounds' seconds."""
    images, few = levels.float() / 255, levels[: args.torchvision_images]
    contenders = {
        "ours": (our_call(text, images), args.batch_size),
        "torchvision": (torchvision_call(theirs, list(few)), len(few)),
        "Pillow": (torchvision_call(theirs, pillow_images(few)), len(few)),
        "kornia": (kornia_call(kornias, images, text in TARGETED), args.batch_size),
    }
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name, (call, _) in contenders.items() if call is not None}
    for _ in range(args.rounds + 1):
        for name in seconds:
            call, n_images = contenders[name]
            assert call is not None
            synchronize(args.device)
            began = clock()
            call()
            synchronize(args.device)
            seconds[name].append((clock() - began) / n_images)
    rounds = {name: each[1:] for name, each in seconds.items()}  # the first one warms up
    ratios = {
        name: statistics.median(slow / fast for slow, fast in zip(rounds[name], rounds["ours"], strict=True))
        for name in OTHERS
        if name in rounds
    }
    rates = {name: 1 / statistics.median(each) for name, each in rounds.items()}
    return {"images_per_second": rates, "times_faster": ratios, "seconds_an_image": rounds}


def as_markdown(line: dict[str, Any]) -> str:
    rates, ratios = line["images_per_second"], line["times_faster"]
    cells = [f"{rates[name]:,.0f}" if name in rates else "-" for name in ("ours", *OTHERS)]
    cells += [f"{ratios[name]:.1f}" if name in ratios else "-" for name in OTHERS]
    return f"| `{line['augmentation']}` | {' | '.join(cells)} |"


def shortfalls(line: dict[str, Any]) -> list[str]:
    """What of the aim a line misses."""
    ten_times = line["augmentation"].split("(")[0] in TEN_TIMES
    wanted = {"kornia": 1.0, "torchvision": 10.0 if ten_times else 0.0, "Pillow": 10.0 if ten_times else 0.0}
    return [
        f"{line['augmentation']}, threads {line['threads']}: {ratio:.2f} times {name}, aim {wanted[name]:.0f}"
        for name, ratio in line["times_faster"].items()
        if ratio < wanted[name]
    ]


def pictures(n: int) -> tuple[Tensor, str]:
    """(n, 3, 32, 32) uint8, channels last in memory, and what they are."""
    folder = os.environ.get("POCKETLENS_DATA")
    if folder and (Path(folder) / "cifar100").is_dir():
        from pocketlens.datasets import load

        pixels, what = np.array(load("cifar100", Path(folder))[0].images[:n]), "CIFAR-100"
    else:
        pixels, what = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), np.uint8), "noise"
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), what


def version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def our_call(text: str, images: Tensor) -> Callable[[], object]:
    component = parse_one(text, "augment")
    function, options = resolve(component, "augment"), dict(component.options)
    rows = torch.arange(len(images), device=images.device)
    targets = torch.nn.functional.one_hot(rows % 10, 10).float()
    epoch = [0]

    def call() -> None:
        epoch[0] += 1  # new draws each time, as in training
        function(images, targets, Draws(0, rows, torch.zeros_like(rows), epoch[0]).named(text), **options)

    return call


def torchvision_call(text: str, images: list[Any]) -> Callable[[], object] | None:
    try:
        from torchvision.transforms import v2
    except ImportError:
        return None
    if text == "-" or (text == "RandomErasing(0.5)" and not isinstance(images[0], Tensor)):  # it takes no Pillow images
        return None
    transform = made(text, {**vars(v2), "bilinear": v2.InterpolationMode.BILINEAR})
    return lambda: [transform(image) for image in images]


def pillow_images(levels: Tensor) -> list[Any]:
    from PIL import Image

    return [Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy()) for image in levels]


def kornia_call(text: str, images: Tensor, with_labels: bool) -> Callable[[], object] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from kornia import augmentation
            from kornia.augmentation import auto
    except ImportError:
        return None
    if text == "-":
        return None
    if with_labels:
        transform = made(text.replace("p=1.0", "p=1.0, data_keys=['input', 'class']"), vars(augmentation))
        labels = torch.arange(len(images), device=images.device) % 10
        return lambda: transform(images, labels)
    transform = made(text, {**vars(augmentation), "auto": auto})
    return lambda: transform(images)


def made(text: str, known: dict[str, Any]) -> Callable[..., object]:
    transform: Callable[..., object] = eval(text, {"__builtins__": {}}, known)  # the texts stand in this file
    return transform


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
