"""Freezing: the groups of layers of a network, and which of them a training keeps fixed."""

from __future__ import annotations

from torch import nn

from pocketlens.errors import PocketlensError
from pocketlens.recipe import frozen_groups, frozen_layers
from pocketlens.text import counted, listed


def groups_of(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """The groups of layers before the head, by name and in order.

    They are the children of the network that hold parameters. A single child is replaced by its own children, and a
    sequence of blocks (nn.Sequential) by the blocks. So the groups of `lens` are the stem and its three groups, those
    of a residual network the stem and the blocks, and those of `vgg` every convolution and every norm. Where a layer
    was appended to a network, the network's old head is its last group.
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
        parts = parts if any(_children(part) for _, part in parts) else []  # single layers, as in a stem, are one group
        groups += [(f"{name}.{key}", part) for key, part in parts] or [(name, child)]
    return groups


def frozen_parts(net: nn.Module, freeze: str) -> list[nn.Module]:
    """The modules that are frozen: their parameters do not train, and they stay in eval mode.

    Raises:
        PocketlensError: the network has fewer groups than `freeze` names.
    """
    if frozen_layers(freeze) == "none":
        return []
    if frozen_layers(freeze) == "body":
        return [module for name, module in net.named_children() if name != "head"]
    groups, n = groups_of(net), frozen_groups(freeze) or 0
    if n > len(groups):
        names = [name for name, _ in groups]
        raise PocketlensError(
            f"freeze={freeze}: the net has {counted(len(groups), 'group')} of layers: {listed(names, 6)}."
        )
    return [module for _, module in groups[:n]]


def freeze(net: nn.Module, what: str) -> None:
    """Freezes the parameters that `what` names: none, body or groups(n); statistics are no parameters.

    Parameters that belong to no group, such as the tokens and positions of a transformer, are frozen with the first.
    """
    for part in frozen_parts(net, what):
        part.requires_grad_(False)
    if frozen_layers(what) != "none":
        grouped = {id(parameter) for _, module in groups_of(net) for parameter in module.parameters()}
        for name, parameter in net.named_parameters():
            if id(parameter) not in grouped and not name.startswith("head."):
                parameter.requires_grad_(False)


def fixed_modules(net: nn.Module, freeze: str) -> list[nn.Module]:
    """The modules that stay in eval mode during a training: the frozen ones, and where `freeze` says so, batch norms.

    Raises:
        PocketlensError: the network has fewer groups than `freeze` names.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    return [*frozen_parts(net, freeze), *(norms if keeps_statistics(freeze) else [])]


def depths_of(net: nn.Module) -> dict[int, int]:
    """For the id of each parameter before the head: how many groups are above it, the head included; 1 or more.

    Those that belong to no group, such as the tokens of a transformer, are as deep as the first group.
    """
    groups = groups_of(net)
    depths = {id(parameter): max(1, len(groups)) for parameter in net.parameters()}
    for place, (_, module) in enumerate(groups):
        depths |= {id(parameter): len(groups) - place for parameter in module.parameters()}
    return depths


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]


def _old_head(net: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in _children(net) if name == "head"]


def keeps_statistics(freeze: str) -> bool:
    """Whether `freeze` says that batch norms keep their statistics while their layers train."""
    return freeze.strip() == "statistics" or frozen_layers(freeze) != freeze
