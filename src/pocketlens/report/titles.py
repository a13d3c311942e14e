"""What a page is called: the data set in short, and what made it."""

from __future__ import annotations

from pathlib import Path

from pocketlens.components import parse_one
from pocketlens.errors import PocketlensError
from pocketlens.text import printable


def short_name(data: str) -> str:
    """`cells` for `folder(path='/home/me/cells', size=48)`; data sets without a path keep their text."""
    try:
        path = dict(parse_one(data, "datasets").options).get("path")
    except PocketlensError:
        path = None
    name = Path(path).name if isinstance(path, str) else ""
    return printable(name or data)


def run_title(label: str, data: str) -> str:
    """The heading of a run: its label, or its data set where it has none; runs of `auto` say what they are for."""
    phase = label.removeprefix("auto: ")
    if phase == label:
        return label or short_name(data)
    return short_name(data) if phase == "final" else f"{short_name(data)}, {phase}"
