"""`auto`: a tested classifier and its report from a data set, end to end, within a time limit."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pocketlens.pipeline.options import AutoOptions
    from pocketlens.pipeline.procedure import run_auto
    from pocketlens.pipeline.result import AutoResult

__all__ = ["AutoOptions", "AutoResult", "run_auto"]
_MODULES = {"AutoOptions": "options", "AutoResult": "result", "run_auto": "procedure"}


def __getattr__(name: str) -> Any:
    """What trains needs torch, which the index of all sessions does without."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"pocketlens.pipeline.{_MODULES[name]}"), name)
