"""Every augmentation at three strengths: the texts that sheets show and for which label stability is measured.

A strength is a text as a person would type it. The middle one is the default or close to it; weak and strong vary the
option that matters most. An augmentation without such an option is listed separately, once for each of its kinds.
"""

from __future__ import annotations

from dataclasses import dataclass

from pocketlens.components import names

STRENGTHS = ("weak", "middle", "strong")
MIXING = ("cutmix", "fmix", "mixup")  # these mix the labels of two images

TEXTS: dict[str, tuple[str, str, str]] = {
    "affine": (
        "affine(degrees=5, fraction=0.05, shear=2, low=0.95, high=1.05)",
        "affine",
        "affine(degrees=30, fraction=0.2, shear=15, low=0.75, high=1.35)",
    ),
    "augmix": ("augmix(severity=1)", "augmix", "augmix(severity=10)"),
    "autocontrast": ("autocontrast(p=0.2)", "autocontrast", "autocontrast(p=1.0)"),
    "brightness": ("brightness(strength=0.1)", "brightness", "brightness(strength=0.9)"),
    "channel_shift": ("channel_shift(strength=0.05)", "channel_shift", "channel_shift(strength=0.4)"),
    "colour_jitter": (
        "colour_jitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02)",
        "colour_jitter",
        "colour_jitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.5)",
    ),
    "contrast": ("contrast(strength=0.1)", "contrast", "contrast(strength=0.9)"),
    "crop": ("crop(pad=1)", "crop", "crop(pad=4)"),
    "cutmix": ("cutmix(alpha=1.0, p=0.25)", "cutmix(alpha=1.0, p=0.5)", "cutmix"),
    "cutout": ("cutout(size=4)", "cutout", "cutout(size=16)"),
    "equalize": ("equalize(p=0.2)", "equalize", "equalize(p=1.0)"),
    "flip": ("flip(p=0.2, alternate=False)", "flip(p=0.5, alternate=False)", "flip(p=1.0, alternate=False)"),
    "fmix": ("fmix(alpha=1.0, p=0.25)", "fmix(alpha=1.0, p=0.5)", "fmix"),
    "grey": ("grey(p=0.1)", "grey(p=0.4)", "grey(p=1.0)"),
    "hue": ("hue(strength=0.03)", "hue", "hue(strength=0.5)"),
    "invert": ("invert(p=0.2)", "invert", "invert(p=1.0)"),
    "mixup": ("mixup(alpha=0.1)", "mixup(alpha=0.4)", "mixup(alpha=4.0)"),
    "perspective": (
        "perspective(distortion=0.25, p=0.5)",
        "perspective(distortion=0.4, p=0.75)",
        "perspective(distortion=0.6, p=1.0)",
    ),
    "posterize": ("posterize(bits=5, p=1.0)", "posterize(bits=3, p=1.0)", "posterize(bits=1, p=1.0)"),
    "randaugment": ("randaugment(n=1, m=5)", "randaugment", "randaugment(n=3, m=20)"),
    "random_erasing": (
        "random_erasing(p=0.25, scale=(0.02, 0.15))",
        "random_erasing",
        "random_erasing(p=1.0, scale=(0.2, 0.6))",
    ),
    "random_resized_crop": (
        "random_resized_crop(scale=(0.8, 1.0))",
        "random_resized_crop(scale=(0.4, 1.0))",
        "random_resized_crop(scale=(0.08, 0.4))",
    ),
    "rotation": ("rotation(degrees=5)", "rotation", "rotation(degrees=180)"),
    "saturation": ("saturation(strength=0.1)", "saturation", "saturation(strength=1.0)"),
    "sharpness": ("sharpness(factor=1.5, p=1.0)", "sharpness(factor=3, p=1.0)", "sharpness(factor=8, p=1.0)"),
    "shear": ("shear(degrees=5)", "shear", "shear(degrees=35)"),
    "solarize": (
        "solarize(threshold=0.9, p=1.0)",
        "solarize(threshold=0.6, p=1.0)",
        "solarize(threshold=0.1, p=1.0)",
    ),
    "translation": ("translation(fraction=0.05)", "translation", "translation(fraction=0.35)"),
    "vertical_flip": ("vertical_flip(p=0.2)", "vertical_flip", "vertical_flip(p=1.0)"),
    "zoom": ("zoom(low=0.95, high=1.05)", "zoom", "zoom(low=0.6, high=1.7)"),
}
KINDS: dict[str, tuple[str, ...]] = {
    "autoaugment": (
        "autoaugment(policy='cifar10')",
        "autoaugment(policy='imagenet')",
        "autoaugment(policy='svhn')",
    ),
    "trivialaugment": ("trivialaugment",),
}


@dataclass(frozen=True)
class Strength:
    """One augmentation at one strength."""

    name: str  # the augmentation's file
    text: str  # what a person types
    strength: str | None  # 'weak', 'middle' or 'strong'; None if its strength cannot vary


def every_strength() -> tuple[Strength, ...]:
    """All augmentations by name, each at its strengths; one that is in neither table once, with its defaults."""
    found = []
    for name in names("augment"):
        if name in TEXTS:
            found += [Strength(name, text, which) for text, which in zip(TEXTS[name], STRENGTHS, strict=True)]
        else:
            found += [Strength(name, text, None) for text in KINDS.get(name, (name,))]
    return tuple(found)
