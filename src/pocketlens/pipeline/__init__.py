"""`auto`: a tested classifier and its report from a data set, end to end, within a time limit."""

from pocketlens.pipeline.entry import run_auto
from pocketlens.pipeline.result import AutoResult

auto = run_auto  # what `pocketlens.auto` names until it is a call of the room `api`

__all__ = ["AutoResult", "auto", "run_auto"]
