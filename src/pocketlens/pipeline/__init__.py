"""`auto`: a tested classifier and its report from a data set, end to end, within a time limit."""

from pocketlens.pipeline.options import AutoOptions
from pocketlens.pipeline.procedure import run_auto
from pocketlens.pipeline.result import AutoResult

__all__ = ["AutoOptions", "AutoResult", "run_auto"]
