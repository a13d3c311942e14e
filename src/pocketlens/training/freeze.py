"""Freezing: the groups of layers of a network, and which of them a training leaves as they are."""

from __future__ import annotations

from torch import nn

from pocketlens.errors import PocketlensError
from pocketlens.recipe import frozen_groups
from pocketlens.text import listed


def groups_of(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """The groups of layers before the head, with their names, in their order.

    They are the children of the net that hold parameters; where there is but one, its children; and in the place of a
    sequence of blocks (nn.Sequential) the blocks: of `lens` the stem and three groups, of a residual net the stem and
    its blocks, of `vgg` every convolution and every norm. A net on which a layer was appended counts with its old head.
    """
    children = _children(net)
    body = [child for child in children if child[0] != "head"]
    if len(body) == 1 and _children(body[0][1]):
        name, inner = body[0]
        below = _children(inner) if isinstance(inner, nn.Sequential) else groups_of(inner) + _old_head(inner)
        return [(f"{name}.{key}", module) for key, module in below]
    groups = []
    for name, child in body:
        parts = _children(child) if isinstance(child, nn.Sequential) else []
        parts = parts if any(_children(part) for _, part in parts) else []  # single layers, such as a stem's, are one
        groups += [(f"{name}.{key}", part) for key, part in parts] or [(name, child)]
    return groups


def frozen_parts(net: nn.Module, freeze: str) -> list[nn.Module]:
    """The modules that stand still: no parameter of theirs trains, and their batch norms and dropouts do nothing new.

    Raises:
        PocketlensError: the net has fewer groups than are to be frozen.
    """
    if freeze == "none":
        return []
    if freeze == "body":
        return [module for name, module in net.named_children() if name != "head"]
    groups, n = groups_of(net), frozen_groups(freeze) or 0
    if n > len(groups):
        names = [name for name, _ in groups]
        raise PocketlensError(f"freeze={freeze}: the net has {len(groups)} groups of layers: {listed(names, 6)}.")
    return [module for _, module in groups[:n]]


def freeze(net: nn.Module, what: str) -> None:
    """Stops what `what` names from training: none, body or groups(n).

    What belongs to no group (the tokens and positions of a transformer) stands still with the first one.
    """
    for part in frozen_parts(net, what):
        part.requires_grad_(False)
    if what != "none":
        grouped = {id(parameter) for _, module in groups_of(net) for parameter in module.parameters()}
        for name, parameter in net.named_parameters():
            if id(parameter) not in grouped and not name.startswith("head."):
                parameter.requires_grad_(False)


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]


def _old_head(net: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in _children(net) if name == "head"]
