"""ModelFacts: everything except the weights that is needed to build a classifier again.

They are stored in the checkpoint's metadata and in exported files, under the key `classifier`. `to_dict` and
`from_dict` are the only code that writes and reads that JSON. A checkpoint may come from anywhere, so `from_dict`
refuses everything that no training writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from pocketlens.errors import PocketlensError
from pocketlens.own_code import CodeRecord, is_bound, records_from
from pocketlens.training.device_images import apply_operations, operations
from pocketlens.training.heads import HEADS, MAX_FEATURES

if TYPE_CHECKING:
    from pocketlens.training.checkpoint import Checkpoint

MAX_OUTPUTS = 100_000  # of a network on which a head was put
MAX_SIDE = 4096  # px, the longest side of an image that a model takes
Shape = tuple[int, int, int]  # (height, width, channels)


@dataclass(frozen=True)
class FeatureHeadFacts:
    """A head that scikit-learn fitted on a network's features.

    Attributes:
        kind: one of `heads.HEADS`.
        layer: the layer of the network whose input the features are.
        outputs: how many outputs the network itself has.
        shapes: the shape of each tensor of the head, by name.
        limit: the number of features to which wider ones are averaged; None: as many as there are.
    """

    kind: str
    layer: str
    outputs: int
    shapes: Mapping[str, tuple[int, ...]]
    limit: int | None = MAX_FEATURES

    def to_dict(self) -> dict[str, Any]:
        """The JSON object under the key `judge`."""
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        limit = {} if self.limit == MAX_FEATURES else {"limit": self.limit}
        return {"kind": self.kind, "layer": self.layer, "outputs": self.outputs, "shapes": shapes, **limit}

    @staticmethod
    def from_dict(value: Any) -> FeatureHeadFacts:
        """The reverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: the value is not what `to_dict` writes.
        """
        shapes = {name: tuple(shape) for name, shape in value["shapes"].items()}
        sizes = [value["outputs"], *(size for shape in shapes.values() for size in shape)]
        if value["kind"] not in HEADS or not isinstance(value["layer"], str):
            raise ValueError(f"judge must be one of {', '.join(HEADS)} on a layer")
        if not all(type(size) is int and 0 < size < 2**40 for size in sizes):
            raise ValueError("the shapes of judge must be whole numbers above 0")
        limit = value.get("limit", MAX_FEATURES)  # absent where all heads had this limit
        if limit is not None and not (type(limit) is int and limit > 0):
            raise ValueError("the limit of judge must be a whole number above 0, or null")
        return FeatureHeadFacts(value["kind"], value["layer"], value["outputs"], shapes, limit)


@dataclass(frozen=True)
class ModelFacts:
    """What a classifier is built from.

    Attributes:
        model: component text of the network.
        prepare: image operations that every image goes through, or "none".
        shape: (height, width, channels) of the prepared images, which the network takes.
        image_shape: (height, width, channels) before `prepare`.
        classes: class names, in the order of the logits.
        superclasses, superclass_of: the names of the superclasses and, for each class, the number of its superclass;
            None without superclasses.
        levels: the 16-bit values that became 0 and 255, where the images had 16 bits; else None.
        mean, std: one number per channel, in 0..1, that the pixels are normalised with.
        seed: the seed that the initial weights come from.
        appended: the numbers of outputs of the networks below the head, where heads were appended; innermost first.
        feature_head: the head that was fitted on the network's features, or None.
        code: the files behind `model` and `prepare`, where these are of one's own.
    """

    model: str
    prepare: str
    shape: Shape
    image_shape: Shape
    classes: tuple[str, ...]
    superclasses: tuple[str, ...] | None
    superclass_of: tuple[int, ...] | None
    levels: tuple[float, float] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int
    appended: tuple[int, ...] = ()
    feature_head: FeatureHeadFacts | None = None
    code: tuple[CodeRecord, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON object under the key `classifier`."""
        value: dict[str, Any] = {
            "model": self.model,
            "prepare": self.prepare,
            "shape": list(self.shape),
            "image_shape": list(self.image_shape),
            "classes": list(self.classes),
            "superclasses": None if self.superclasses is None else list(self.superclasses),
            "superclass_of": None if self.superclass_of is None else list(self.superclass_of),
            "levels": None if self.levels is None else list(self.levels),
            "mean": list(self.mean),
            "std": list(self.std),
            "seed": self.seed,
        }
        if self.appended:
            value["appended"] = list(self.appended)
        if self.feature_head is not None:
            value["judge"] = self.feature_head.to_dict()
        if self.code:
            value["code"] = [asdict(record) for record in self.code]
        return value

    @staticmethod
    def from_dict(value: Any, source: str) -> ModelFacts:
        """The reverse of `to_dict`; `source` names the checkpoint in errors.

        Raises:
            PocketlensError: a key is missing, or a value is none that training writes.
        """
        try:
            facts = _read(value, source)
            if is_bound(facts.code, facts.prepare):
                _check_prepare(facts)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            raise not_a_classifier(source, error) from None
        return facts

    @staticmethod
    def of(checkpoint: Checkpoint, source: str) -> ModelFacts:
        """The facts that a checkpoint holds; raises as `from_dict` does."""
        return ModelFacts.from_dict(checkpoint.meta.get("classifier"), source)


def not_a_classifier(source: str, error: Exception) -> PocketlensError:
    """The error for a checkpoint from which no classifier can be built."""
    why = " ".join(str(error).split())[:200]
    return PocketlensError(f"{source}: its checkpoint does not describe a classifier ({type(error).__name__}: {why}).")


def _read(value: Any, source: str) -> ModelFacts:
    if not isinstance(value, dict):
        raise ValueError("it must be a JSON object")
    appended, head = value.get("appended", []), value.get("judge")
    if not isinstance(appended, list) or not all(type(n) is int and 1 <= n <= MAX_OUTPUTS for n in appended):
        raise ValueError(f"appended must be numbers of outputs, from 1 to {MAX_OUTPUTS:,}")
    levels = None if value["levels"] is None else _numbers(value["levels"], "levels")
    if levels is not None and not (len(levels) == 2 and all(map(math.isfinite, levels))):
        raise ValueError("levels must be two numbers")
    classes = _names(value["classes"], "classes")
    if not classes:
        raise ValueError("classes must name at least one class")
    superclasses = None if value["superclasses"] is None else _names(value["superclasses"], "superclasses")
    superclass_of = None if value["superclass_of"] is None else tuple(value["superclass_of"])
    if superclass_of is not None and not all(type(n) is int for n in superclass_of):
        raise ValueError("superclass_of must be whole numbers")
    for key in ("model", "prepare"):
        if not isinstance(value[key], str):
            raise ValueError(f"{key} must be a text")
    if type(value["seed"]) is not int:
        raise ValueError("seed must be a whole number")
    return ModelFacts(
        model=value["model"],
        prepare=value["prepare"],
        shape=_shape(value["shape"]),
        image_shape=_shape(value.get("image_shape", value["shape"])),  # absent where images came in prepared
        classes=classes,
        superclasses=superclasses,
        superclass_of=superclass_of,
        levels=None if levels is None else (levels[0], levels[1]),
        mean=_numbers(value["mean"], "mean"),
        std=_numbers(value["std"], "std"),
        seed=value["seed"],
        appended=tuple(appended),
        feature_head=None if head is None else FeatureHeadFacts.from_dict(head),
        code=records_from(value.get("code", []), source),
    )


def _check_prepare(facts: ModelFacts) -> None:
    blank = torch.empty((1, *facts.image_shape), dtype=torch.uint8, device="meta")  # has a shape and no pixels
    if tuple(apply_operations(operations(facts.prepare), blank).shape[1:]) != facts.shape:
        raise ValueError(f"{facts.prepare} must make images of {facts.shape} from {facts.image_shape}")


def _names(value: Any, key: str) -> tuple[str, ...]:
    if not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        raise ValueError(f"{key} must be a list of names")
    return tuple(value)


def _numbers(value: Any, key: str) -> tuple[float, ...]:
    if not (isinstance(value, list) and all(isinstance(number, (int, float)) for number in value)):
        raise ValueError(f"{key} must be a list of numbers")
    return tuple(value)


def _shape(value: Any) -> Shape:
    whole = isinstance(value, list) and len(value) == 3 and all(type(size) is int for size in value)
    if not whole or not all(1 <= size <= MAX_SIDE for size in value[:2]) or value[2] not in (1, 3):
        raise ValueError(f"an image's shape must be three whole numbers, at most {MAX_SIDE} x {MAX_SIDE} x 3")
    return value[0], value[1], value[2]
