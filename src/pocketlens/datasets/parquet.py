"""Parquet files of encoded images: one file, or a folder of `train*.parquet` and `test*.parquet`.

The image column holds bytes or `{bytes, path}` as on the Hugging Face hub; the label column holds whole numbers (with
the names of the classes in the schema's `huggingface` metadata, where they are there) or texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pocketlens.data.sources import parquet as files_of
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import Encoded, load_encoded, parts
from pocketlens.datasets._headers import Origin, Rules
from pocketlens.datasets._official import shards
from pocketlens.errors import PocketlensError
from pocketlens.text import class_order, printable


def parquet(
    folders: Folders,
    *,
    path: str | None = None,
    image: str | None = None,
    label: str | None = None,
    group: str | None = None,
    size: int | None = None,
    test: str | None = None,
    bad: str = "error",
    fit: str = "crop",
) -> Parts:
    """Images from parquet.

    Args:
        folders: how images are held out and sized; the path says where they are.
        path: a file, or a folder of them.
        image: the column of images; None finds `image`, `img`, ….
        label: the column of labels; None finds `label`, `fine_label`, ….
        group: a column whose equal values never stand in different parts.
        size: brings images to this many pixels; None chooses a size where they have several, or a large one.
        test: a file that is the official test part.
        bad: "error" refuses images that cannot be read and names their rows; "skip" leaves them out and notes it.
        fit: how an image becomes square: crop (its middle), stretch (all of it), pad (all of it, with grey edges).

    Raises:
        PocketlensError: a column is missing or of another type, or images are bad.
    """
    rules = Rules(size, bad, fit=fit, hold_out=folders.hold_out)
    if path is None:
        raise PocketlensError("datasets: parquet needs a path, such as parquet('images.parquet').")
    development, held_files, notes = _find(Path(path).expanduser(), test)
    columns = (image, label, group)
    origin = Origin("parquet", development + held_files, f"{columns!r}, {len(held_files)}")
    found = load_encoded(origin, rules, folders.aim, _encoded(development, held_files, columns, notes))
    return parts(found, "parquet")


def _find(path: Path, test: str | None) -> tuple[tuple[Path, ...], tuple[Path, ...], tuple[str, ...]]:
    if not path.exists():
        raise PocketlensError(f"{printable(str(path))} must be a parquet file or a folder of them that exists.")
    if path.is_file() or test is not None:
        files = (path,) if path.is_file() else tuple(sorted(path.glob("*.parquet")))
        return files, (Path(test).expanduser(),) if test is not None else (), ()
    every = tuple(sorted(path.glob("*.parquet")))
    if not every:
        raise PocketlensError(f"{printable(str(path))} must hold .parquet files, it holds none.")
    found = shards(path)
    if found is None:
        return every, (), ()
    rest = tuple(file for file in every if file not in found[0] + found[1])
    notes = () if not rest else (f"{len(rest)} other parquet files are added to the development set: {rest[0].name} …",)
    return found[0] + rest, found[1], notes


@contextmanager
def _encoded(
    development: tuple[Path, ...],
    held_files: tuple[Path, ...],
    columns: tuple[str | None, str | None, str | None],
    notes: tuple[str, ...],
) -> Iterator[Encoded]:
    both = files_of.open_shards(development + held_files)
    image, label, group = columns
    images = files_of.image_column(both, image)
    label_column = files_of.label_column(both, label)
    labels, classes = _labels(both, label_column)
    values = {"labels": labels}
    is_test = np.repeat([path in held_files for path in both.files], both.n_rows)
    if group is not None:
        groups = np.array(list(map(str, files_of.read_values(both, group))), object)
        values["groups"] = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        shared = np.intersect1d(values["groups"][is_test], values["groups"][~is_test])
        if len(shared):
            raise PocketlensError(
                f"{both.files[0]}: a group must not be in both the development and the test set; "
                f"{len(shared)} of {group!r} are."
            )
    names = files_of.read_paths(images) or tuple(f"row {row}" for row in range(len(both)))
    yield Encoded("parquet", images, names, values, classes, is_test if held_files else None, notes)


def _labels(both: files_of.Shards, column: str) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], tuple[str, ...]]:
    """(N,) labels and the names of the classes."""
    values = files_of.read_values(both, column)
    names = files_of.class_names(both, column)
    if values and isinstance(values[0], str):
        order = class_order([str(value) for value in values])
        number = {name: label for label, name in enumerate(order)}
        return np.array([number[str(value)] for value in values], np.int64), tuple(printable(name) for name in order)
    labels = files_of.read_numbers(both, column)
    n_classes = len(names) if names is not None else min(int(labels.max(initial=-1)) + 1, 65_536)
    bad = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if len(bad):
        raise PocketlensError(f"{both.files[0]}: labels must be 0..{n_classes - 1}, row {bad[0]} has {labels[bad[0]]}.")
    return labels, names if names is not None else tuple(map(str, range(n_classes)))
