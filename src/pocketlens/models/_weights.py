"""Weights of a net that others trained: read from a file, in which there is nothing but tensors, or from timm's hub."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models.timm import from_hub


def read_weights(file: Path, who: str) -> dict[str, Tensor]:
    """The named tensors of a safetensors or torch file; no code in it is run.

    Raises:
        PocketlensError: it is no such file; `who` names the model in the message.
    """
    if not file.is_file():
        raise PocketlensError(f"{who}: weights must be a file that exists, got {str(file)!r}.")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors = load_file(file)
        else:
            tensors = torch.load(file, map_location="cpu", weights_only=True)
        tensors = dict(tensors.get("state_dict", tensors))
    except Exception as error:  # a foreign file may break in as many ways as there are formats
        reason = str(error).split("\n")[0][:200]
        raise PocketlensError(f"{who}: {file} must be a file of weights (safetensors or torch): {reason}") from None
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise PocketlensError(f"{who}: {file} must hold named tensors and nothing else.")
    return tensors


def hub_weights(name: str, channels: int) -> dict[str, Tensor]:
    """The named tensors of timm's pretrained model `name` for images of so many channels.

    Raises:
        PocketlensError: they cannot be had; it says which file to put where.
    """
    with torch.random.fork_rng(devices=[]):  # timm draws weights before it overwrites them
        torch.manual_seed(0)
        return from_hub(name, channels, {}).state_dict()


def take_weights(module: nn.Module, tensors: dict[str, Tensor], prefix: str, what: str) -> None:
    """Loads a module's tensors from those whose names begin with `prefix`; more may be there, none may be absent.

    Raises:
        PocketlensError: one is absent or of another shape; `what` names the source.
    """
    own = module.state_dict()
    for name, value in own.items():
        given = tensors.get(prefix + name)
        if given is None and name.endswith("num_batches_tracked"):
            continue
        if given is None or given.shape != value.shape:
            found = "absent" if given is None else f"of shape {tuple(given.shape)}"
            raise PocketlensError(f"{what} must hold {prefix}{name} of shape {tuple(value.shape)}; it is {found}.")
    module.load_state_dict({name: tensors.get(prefix + name, value) for name, value in own.items()})
