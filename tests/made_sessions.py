"""Sessions of `auto` that are run to their end."""

from __future__ import annotations

from pocketlens.events import Note, Stage
from pocketlens.pipeline import AutoResult
from pocketlens.pipeline.phases import AutoEvents


def followed(events: AutoEvents) -> tuple[list[Stage | Note], AutoResult]:
    """The stages and notes that are yielded, and the result that is returned."""
    said: list[Stage | Note] = []
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return said, end.value
        if isinstance(event, (Stage, Note)):
            said.append(event)
