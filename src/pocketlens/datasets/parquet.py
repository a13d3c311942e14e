"""Parquet files of encoded images: one file, or a folder of `train*.parquet` and `test*.parquet`.

The image column holds bytes or `{bytes, path}` as on the Hugging Face hub; the label column holds whole numbers (with
the names of the classes in the schema's `huggingface` metadata, where they are there) or texts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.data.sources import parquet as files_of
from pocketlens.data.sources.columns import NO_COLUMN, folded, part_of, read_split
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import Encoded, load_encoded, parts
from pocketlens.datasets._headers import Origin, Rules
from pocketlens.datasets._labels import ClassLabels, Naming, number_labels
from pocketlens.datasets._official import shards
from pocketlens.datasets._table_parts import RowParts, asked_of, row_parts
from pocketlens.errors import PocketlensError, nearest
from pocketlens.text import counted, listed, printable

if TYPE_CHECKING:
    from pocketlens.data.sources.layout import Asked


_OF_COLUMNS = ("image", "label", "group", "split_column")


def parquet(
    folders: Folders,
    *,
    path: str | None = None,
    image: str | None = None,
    label: str | None = None,
    group: str | None = None,
    size: int | None = None,
    test: str | None = None,
    val: str | None = None,
    bad: str = "error",
    fit: str = "crop",
    max_pixels: int = 25_000_000,
    split_column: str | None = None,
    merge_names: bool = False,
) -> Parts:
    """Images from parquet.

    Args:
        folders: how images are held out and sized; the path says where they are.
        path: a file, or a folder of them.
        image: the column of images; None finds `image`, `img`, ….
        label: the column of labels; None finds `label`, `class`, `diagnosis`, ….
        group: a column whose equal values never stand in different parts.
        size: brings images to this many pixels; None chooses a size where they have several, or a large one.
        test: a file that is the official test part, or a value of the column of parts, such as 'fold5'.
        val: a value of the column of parts; "validation" is the validation part that is given, which otherwise becomes
            the test part where there is no other one.
        bad: "error" refuses images that cannot be read and names their rows; "skip" leaves them out and notes it.
        fit: how an image becomes square: crop (its middle), stretch (all of it), pad (all of it, with grey edges).
        max_pixels: larger JPEGs are decoded smaller, to no less than the size; other larger images cannot be read.
        split_column: the column of parts (train, val, test; folds); None finds `split`, `fold`, `is_test`, …, and
            "none" uses no column.
        merge_names: makes one class of names that differ only by case or outer space.

    Raises:
        PocketlensError: a column is missing or of another type, could be several, or images are bad.
    """
    rules = Rules(size, bad, fit=fit, hold_out=folders.hold_out, max_pixels=max_pixels, form=folders.form)
    if path is None:
        raise PocketlensError("datasets: parquet needs a path, such as parquet('images.parquet').")
    given = {"path": path, "image": image, "label": label, "group": group, "size": size, "test": test, "val": val}
    given |= {"bad": None if bad == "error" else bad, "split_column": split_column, "merge_names": merge_names or None}
    given |= {"fit": None if fit == "crop" else fit, "max_pixels": None if max_pixels == 25_000_000 else max_pixels}
    test_file = None if test is None else Path(test).expanduser()
    is_file = test_file is not None and (test_file.exists() or test_file.suffix.lower() == ".parquet")
    asked = asked_of("parquet", given, None if is_file else test)
    source = _find(Path(path).expanduser(), test_file if is_file else None)
    of_rows = [each for each in asked.typed.options[1:] if each[0] not in ("size", "fit", "max_pixels")]
    rows = repr(("parquet 2", len(source.test), of_rows))
    origin = Origin("parquet", source.files, rows, tally=folders.tally)
    return parts(load_encoded(origin, rules, folders.aim, _encoded(source, asked)), "parquet")


@dataclass(frozen=True)
class _Source:
    """The files by their part, and what to say about them."""

    development: tuple[Path, ...]
    test: tuple[Path, ...] = ()
    val: tuple[Path, ...] = ()  # some of `development`
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All, in the order of their rows."""
        return self.development + self.test


def _find(path: Path, test: Path | None) -> _Source:
    if not path.exists():
        raise PocketlensError(f"{printable(str(path))} must be a parquet file or a folder of them that exists.")
    if path.is_file() or test is not None:
        files = (path,) if path.is_file() else tuple(sorted(path.glob("*.parquet")))
        return _Source(files, () if test is None else (test,))
    every = tuple(sorted(path.glob("*.parquet")))
    if not every:
        raise PocketlensError(f"{printable(str(path))} must hold .parquet files, it holds none.")
    val = tuple(file for file in every if part_of(re.split(r"[-.]", file.name)[0]) == "val")
    found = shards(path)
    if found is None:
        return _Source(every, val=val if len(val) < len(every) else ())
    rest = tuple(file for file in every if file not in found[0] + found[1])
    others = [file for file in rest if file not in val]
    notes = (
        (
            f"{counted(len(others), 'other parquet file is', 'other parquet files are')} added to the "
            f"development set: {others[0].name} …",
        )
        if others
        else ()
    )
    return _Source(found[0] + rest, found[1], val, notes)


@contextmanager
def _encoded(source: _Source, asked: Asked) -> Iterator[Encoded]:
    both = files_of.open_shards(source.files)
    chosen = dict(asked.typed.options)
    _require_columns(both, asked)
    images = files_of.image_column(both, chosen.get("image"))
    group = None if chosen.get("group") is None else files_of.column_named(both, chosen["group"], "group")
    split = _split(both, asked, {images.column, group})
    used = {images.column, group, *split.columns}
    named = _labels(both, _label_column(both, asked, used), asked)
    values = {"labels": named.labels}
    groups = None if group is None else list(map(str, files_of.read_values(both, group)))
    if groups is not None:
        values["groups"] = np.unique(np.array(groups, object), return_inverse=True)[1].astype(np.int64)
    given = _given(source, both, split.parts)
    is_test = np.array([role == "test" for role in given], bool)
    rows = RowParts(is_test if source.test else None, {}, ())
    if split.parts is not None or source.val:
        rows = row_parts(given, [named.classes[label] for label in named.labels], groups, asked)
    elif groups is not None and source.test:
        in_test = set(np.array(groups, object)[is_test])
        shared = in_test & set(np.array(groups, object)[~is_test])
        if shared:
            raise PocketlensError(
                f"{both.files[0]}: a group must not be in both the development and the test set; {len(shared)} of "
                f"{group!r} are."
            )
    names = files_of.read_paths(images) or tuple(f"row {row}" for row in range(len(both)))
    notes = (*source.notes, *rows.notes, *split.notes, *named.notes)
    yield Encoded("parquet", images, names, values | rows.columns, named.classes, rows.held, notes)


def _require_columns(both: files_of.Shards, asked: Asked) -> None:
    """Refuses the name of a column that is not there, with the text that is likely meant."""
    names = both.schema.names
    for option, wanted in asked.typed.options:
        if option not in _OF_COLUMNS or not isinstance(wanted, str) or (option, wanted) == ("split_column", NO_COLUMN):
            continue
        if folded(wanted) not in map(folded, names) and (near := nearest(wanted, names)) is not None:
            raise PocketlensError(
                f"{both.files[0]} has no column {printable(wanted)!r} for {option}.{asked.hint(option, near)}"
            )


def _given(source: _Source, both: files_of.Shards, column: Sequence[str] | None) -> list[str]:
    """The part of each row: by its file, or else by the column."""
    of_file = ["test" if path in source.test else "val" if path in source.val else "train" for path in both.files]
    by_file = [role for role, n in zip(of_file, both.n_rows, strict=True) for _ in range(n)]
    return (
        by_file
        if column is None
        else [said if role == "train" else role for role, said in zip(by_file, column, strict=True)]
    )


@dataclass(frozen=True)
class _Split:
    """What the column of parts says; None and no columns where there is none."""

    parts: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _split(both: files_of.Shards, asked: Asked, used: Collection[str | None]) -> _Split:
    wanted, where = dict(asked.typed.options).get("split_column"), both.files[0].name
    if wanted == NO_COLUMN:
        return _Split()
    named = wanted is not None
    columns = [files_of.column_named(both, str(wanted), "split_column")] if named else files_of.split_columns(both)
    read = {
        column: said
        for column in columns
        if column not in used
        and (said := read_split(column, files_of.read_texts(both, column), where, named)) is not None
    }
    if len(read) > 1:
        choices = [asked.text(split_column=name) for name in (*read, NO_COLUMN)]
        raise PocketlensError(
            f"{both.files[0]}: {counted(len(read), 'column')} could name the parts. Type one of: {listed(choices)}."
        )
    return next((_Split(said.parts, (column,), (said.note,)) for column, said in read.items()), _Split())


def _label_column(both: files_of.Shards, asked: Asked, used: Collection[str | None]) -> str:
    """The column of labels: the one named, or the first with a usual name that no other contradicts."""
    wanted = dict(asked.typed.options).get("label")
    known = [column for column in files_of.label_columns(both) if column not in used]
    if wanted is not None or len(known) < 2 or folded(known[0]) in ("label", "labels", "finelabel"):
        return files_of.label_column(both, None if wanted is None else str(wanted))
    cells = {column: files_of.read_texts(both, column) for column in known}
    first = cells[known[0]]
    rivals = [
        column
        for column in known[1:]
        if len(set(cells[column])) > 1 and len({*zip(first, cells[column], strict=True)}) != len(set(first))
    ]
    if rivals:
        choices = [asked.text(label=column) for column in (known[0], *rivals)]
        raise PocketlensError(
            f"{both.files[0]}: {counted(len(choices), 'column')} could hold the labels. Type one of: {listed(choices)}."
        )
    return known[0]


def _labels(both: files_of.Shards, column: str, asked: Asked) -> ClassLabels:
    """(N,) labels and the names of the classes."""
    values = files_of.read_values(both, column)
    merge = bool(dict(asked.typed.options).get("merge_names"))
    texts = bool(values) and isinstance(values[0], str)
    numbers = np.array(values, object) if texts else files_of.read_numbers(both, column)
    naming = Naming(str(both.files[0]), files_of.class_names(both, column), merge, asked.text(merge_names=True))
    return number_labels(numbers, replace(naming, names=None) if texts else naming)
