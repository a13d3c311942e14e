"""The rows of a folder of images whose labels stand in a table, and one spelling for each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pocketlens.data.sources.class_names import one_spelling
from pocketlens.data.sources.columns import BY_FOLDERS, Columns
from pocketlens.data.sources.file_names import Files
from pocketlens.data.sources.layout import Asked
from pocketlens.data.sources.table import LabelTable, read_table
from pocketlens.data.sources.table_search import find_table, near_table, refuse_annotations, require_table
from pocketlens.data.sources.table_source import TableRequest
from pocketlens.datasets._listing import Listing, list_table
from pocketlens.datasets._table_parts import with_parts
from pocketlens.errors import PocketlensError
from pocketlens.text import class_order, counted, printable

__all__ = ["BY_FOLDERS", "list_elsewhere", "list_labelled", "one_name_each", "table_of"]


def table_of(root: Path, labels: Path | None, request: TableRequest, names: Sequence[str]) -> LabelTable | None:
    """The table that was named, or the one among or beside the files `names`; None where class folders give the labels.

    Raises:
        PocketlensError: it is bad, there are several, or columns were named and there is none.
    """
    table = None
    if labels is not None:
        require_table(labels, root, request)
        table = read_table(labels, root, request)
    elif names:
        table = find_table(root, names, request)
    if labels is None and table is None and names:
        refuse_annotations(root, names, request)
    if table is None and request.columns != Columns():
        raise PocketlensError(
            "datasets: group, file_column, label_column and split_column of folder name columns of a table, so labels "
            f"must be given too, as in {request.text(root, labels='labels.csv')}."
        )
    return table


def list_labelled(root: Path, table: LabelTable, asked: Asked) -> Listing:
    """The rows of a table with the parts that its column gives.

    Raises:
        PocketlensError: a part was named that is neither another table nor one of the column's.
    """
    listing = list_table(root, table)
    pictures = Files(root, root).pictures
    n_unlisted = 0 if asked.has_other_test else len(set(pictures) - set(table.files))
    if n_unlisted:
        note = (
            f"not used: {n_unlisted:,} of {counted(len(pictures), 'image')} below the folder, without a "
            "line in the table"
        )
        listing = replace(listing, notes=(*listing.notes, note))
    if table.parts is not None:
        return with_parts(listing, table.parts, asked)
    for name, value in (("test", asked.test), ("val", asked.val)):
        if value is not None:
            hint = asked.hint(name, near_table(value, root))
            raise PocketlensError(
                f"{name} must be another CSV where a CSV gives the labels, got {printable(value)!r}, which is no file; "
                f"the labels CSV has no column of parts, such as split.{hint}"
            )
    return listing


def list_elsewhere(root: Path, place: Path, request: TableRequest) -> Listing:
    """The rows of a part that another table of the same folder lists."""
    return list_table(root, read_table(place, root, request))


def one_name_each(listing: Listing, asked: Asked, *, merge: bool) -> Listing:
    """The listing with one spelling for each class.

    Raises:
        PocketlensError: class names differ only by case or outer space, and `merge` is not set.
    """
    counts = {**dict.fromkeys(listing.classes, 0), **Counter(listing.labels)}
    spelling = one_spelling(counts, merge, asked.text(merge_names=True))
    if not spelling.notes:
        return listing
    labels = tuple(spelling.of[label] for label in listing.labels)
    classes = tuple(class_order(spelling.of[name] for name in listing.classes))
    return replace(listing, labels=labels, classes=classes, notes=(*listing.notes, *spelling.notes))
