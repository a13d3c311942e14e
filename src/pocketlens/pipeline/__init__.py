"""The whole way, from a data set to a tested classifier and its page, within the minutes that are given."""

from pocketlens.events import Stage
from pocketlens.pipeline.phases import auto

__all__ = ["Stage", "auto"]
