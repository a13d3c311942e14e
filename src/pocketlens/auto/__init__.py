"""The whole way, from a data set to a tested classifier and its page, within the minutes that are given."""

from pocketlens.auto.state import Stage
from pocketlens.auto.way import auto

__all__ = ["Stage", "auto"]
