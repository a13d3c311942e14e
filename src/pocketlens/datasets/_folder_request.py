"""What a person typed about a folder of images, where it decides which rows there are."""

from __future__ import annotations

from dataclasses import dataclass, field

from pocketlens.components import Component
from pocketlens.data.sources.columns import Columns
from pocketlens.data.sources.table_source import TableRequest
from pocketlens.events import Tally


@dataclass(frozen=True)
class FolderRequest:
    """The options that decide the rows, and the data set as it was typed."""

    typed: Component
    labels: str | None
    test: str | None
    val: str | None
    depth: int | None
    follow: bool
    merge_names: bool
    tally: Tally = field(default_factory=Tally, compare=False, repr=False)

    @property
    def tables(self) -> TableRequest:
        """What was said about tables."""
        given = dict(self.typed.options)
        names = ("file_column", "label_column", "group", "split_column")
        return TableRequest(Columns(*(given.get(name) for name in names)), self.typed, given.get("bad") == "skip")
