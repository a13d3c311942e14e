"""Checkpoint: everything that a training needs to continue, as one safetensors file with a checksum.

safetensors files hold numbers and text and cannot hold code. Tensors are named `weights/...`, `best/...`,
`optimizer/...`, `lookahead/...`, `ema/...`, `wise_ft/...` and `sums/...`; what is not a tensor is JSON in the file's
metadata.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pocketlens.errors import PocketlensError
from pocketlens.files import to_json, write_bytes
from pocketlens.training.interpolation import FIRST, Interpolation, interpolated

FORMAT = "pocketlens checkpoint 1"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training's state.

    Attributes:
        tensors: by name, as the file holds them.
        meta: step, n_steps, n_seen, bad_epochs, history, classifier (see `ModelFacts`) and, where there is one,
            interpolation, as JSON holds them.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]

    def result(self) -> dict[str, Tensor]:
        """The weights that count: the best epoch's where the recipe keeps them, otherwise the last ones.

        Slow weights and averages, where there are any, replace those of the last step. Where an interpolation was
        chosen, the result lies between the first weights and these.

        Raises:
            PocketlensError: the metadata name an interpolation that is none.
        """
        best = self.part("best/")
        if best or "interpolation" not in self.meta:
            return best or self._last()
        try:
            alpha = Interpolation.from_dict(self.meta["interpolation"]).alpha
            return interpolated(self.part(FIRST), self._last(), alpha)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise PocketlensError(f"the checkpoint's interpolation is damaged ({type(error).__name__}).") from None

    def _last(self) -> dict[str, Tensor]:
        return {**self.part("weights/"), **self.part("lookahead/"), **self.part("ema/")}

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix`, by the rest of their names."""
        return {name[len(prefix) :]: value for name, value in self.tensors.items() if name.startswith(prefix)}

    def weights_hash(self) -> str:
        """16 hexadecimal digits of the weights that count."""
        return _digest(self.result(), "")[:16]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint atomically; equal checkpoints give equal bytes.

    Raises:
        OSError: the disk is full; an older file at `path` is unchanged.
    """
    write_bytes(path, checkpoint_bytes(checkpoint))


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """The content of a checkpoint's file."""
    tensors = {name: checkpoint.tensors[name].detach().cpu().contiguous() for name in sorted(checkpoint.tensors)}
    meta = to_json(checkpoint.meta)
    header = {"format": FORMAT, "meta": meta, "checksum": _digest(tensors, meta)}
    return safetensors.torch.save(tensors, {"pocketlens": json.dumps(header, sort_keys=True)})


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint and verifies its checksum.

    Raises:
        PocketlensError: the file is absent, truncated, changed or of another format.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["pocketlens"])
            # Copies: what safetensors gives maps the file, and a mapped file cannot be replaced or removed on Windows.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        text, checksum, kind = str(header["meta"]), header["checksum"], header["format"]
        meta = json.loads(text)
    except MemoryError:
        raise  # the file may well be whole
    except Exception as error:  # safetensors raises its own kinds for damaged headers, sizes and types
        raise PocketlensError(f"{path.name} is damaged or is not a checkpoint ({type(error).__name__}).") from None
    if kind != FORMAT:
        raise PocketlensError(f"{path.name} must be a {FORMAT!r}, it is a {kind!r}.")
    if _digest(tensors, text) != checksum:
        raise PocketlensError(f"{path.name} is damaged: its checksum does not match.")
    if not isinstance(meta, dict):
        raise PocketlensError(f"{path.name} is not a checkpoint: its metadata must be a JSON object.")
    return Checkpoint(tensors, meta)


def _digest(tensors: dict[str, Tensor], meta: str) -> str:
    digest = hashlib.sha256(meta.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()
