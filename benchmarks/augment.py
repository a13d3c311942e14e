"""Images per second of every augmentation: ours on a batch against torchvision v2, and kornia where it is installed.

    python benchmarks/augment.py                       every augmentation, 1,000 images of 32 px, one thread and two
    python benchmarks/augment.py --only autoaugment augmix --rounds 9 --threads 1
    python benchmarks/augment.py --device cuda --threads 1

Ours and kornia's work on the whole batch, float32, with a draw for every image. torchvision draws once for a whole
batch, so it goes image by image, as in a data loader, on uint8 tensors and on Pillow's images; their conversion is not
counted. All alternate in one run; medians of the rounds are printed, and how many times faster ours is than each.
Images lie in memory as training has them (channels last) and are the same for all.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pocketlens.draws import Draws
from pocketlens.memory import keep_freed_memory
from pocketlens.spec import names, parse_one, resolve

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--torchvision-images", type=int, default=200, help="of the batch, each round (default 200)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", default=[], help="names of augmentations, without options")
    args = parser.parse_args()
    keep_freed_memory()
    missing = set(names("augment")) - {text.split("(")[0] for text in PAIRS}
    if missing:
        print(f"not measured, no line in PAIRS: {', '.join(sorted(missing))}")
    for n_threads in args.threads:
        torch.set_num_threads(n_threads)
        print(f"\n{args.device}, {n_threads} threads, batches of {args.batch_size} images of 32 px; images per second")
        print(
            f"{'augmentation':<34}{'ours':>10}{'torchvision':>13}{'with Pillow':>13}{'kornia':>10}   times faster",
            flush=True,
        )
        for text, (theirs, kornias) in PAIRS.items():
            if not args.only or text.split("(")[0] in args.only:
                measure(text, theirs, kornias, args)


def measure(text: str, theirs: str, kornias: str, args: argparse.Namespace) -> None:
    """Times what there is of the three in turn, and prints a line."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (args.batch_size, 32, 32, 3), generator=generator, dtype=torch.uint8)
    levels = levels.to(args.device).permute(0, 3, 1, 2)  # (B, 3, 32, 32) uint8, channels last in memory
    images = levels.float() / 255
    few = levels[: args.torchvision_images]
    contenders = {
        "ours": (our_call(text, images), args.batch_size),
        "torchvision": (torchvision_call(theirs, list(few)), len(few)),
        "Pillow": (torchvision_call(theirs, pillow_images(few)), len(few)),
        "kornia": (kornia_call(kornias, images, text in TARGETED), args.batch_size),
    }
    seconds: dict[str, list[float]] = {name: [] for name, (call, _) in contenders.items() if call is not None}
    for _ in range(args.rounds + 1):
        for name in seconds:
            call = contenders[name][0]
            assert call is not None
            synchronize(args.device)
            began = time.perf_counter()
            call()
            synchronize(args.device)
            seconds[name].append(time.perf_counter() - began)
    rates = {name: contenders[name][1] / statistics.median(times[1:]) for name, times in seconds.items()}
    columns = "".join(
        f"{rates[name]:>{width},.0f}" if name in rates else f"{'-':>{width}}"
        for name, width in (("ours", 10), ("torchvision", 13), ("Pillow", 13), ("kornia", 10))
    )
    ratios = ", ".join(f"{rates['ours'] / rate:.1f} than {name}" for name, rate in rates.items() if name != "ours")
    print(f"{text:<34}{columns}   {ratios}", flush=True)


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
