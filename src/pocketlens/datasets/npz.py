"""Arrays of images and labels: an `.npz` file, or a folder of `.npy` files.

Names: `images`, `labels` (development), `test_images`, `test_labels`; or `x_train`, `y_train`, `x_test`, `y_test`; or
`train_images`, `train_labels`, `val_images`, …, as MedMNIST has them; `classes` may hold the names of the classes, and
`split` or `fold` beside `images` the part of each image. The classes are the labels that occur, numbers or texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Images
from pocketlens.data.sources.cache import Entry, Key, Table, chunk_rows, find, store
from pocketlens.data.sources.columns import NO_COLUMN, SplitColumn, named_column, read_split, split_columns
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.npy import Array, arrays, read_all, read_chunks
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import parts
from pocketlens.datasets._labels import ClassLabels, Naming, number_labels
from pocketlens.datasets._table_parts import RowParts, asked_of, row_parts
from pocketlens.errors import PocketlensError, nearest
from pocketlens.text import counted, listed, printable

if TYPE_CHECKING:
    from pocketlens.data.sources.layout import Asked

_DEVELOPMENT = (("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels"))
_VALIDATION = (("x_val", "y_val"), ("val_images", "val_labels"))
_TEST = (("test_images", "test_labels"), ("x_test", "y_test"))


def npz(
    folders: Folders,
    *,
    path: str | None = None,
    test: str | None = None,
    val: str | None = None,
    split_column: str | None = None,
    merge_names: bool = False,
) -> Parts:
    """Images uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3), and labels, whole numbers or texts, (N,) or (N, 1).

    Args:
        folders: not needed, the path says all.
        path: the file, or the folder of `.npy` files.
        test: the value of the array of parts that is the test part, such as 'fold5'.
        val: the same for the validation part; "validation" is the one that is given, which otherwise becomes the test
            part where there is no other one.
        split_column: the array with the part of each image (train, val, test; folds); None finds `split`, `fold`,
            `is_test`, …, and "none" uses none.
        merge_names: makes one class of names that differ only by case or outer space.

    Raises:
        PocketlensError: arrays are missing, damaged, or of another type or shape.
    """
    if path is None:
        raise PocketlensError("datasets: npz needs a path, such as npz('images.npz').")
    source = Path(path).expanduser()
    if not source.exists():
        raise PocketlensError(f"{printable(path)} must be an .npz file or a folder of .npy files that exists.")
    files = tuple(sorted(source.glob("*.npy"))) if source.is_dir() else (source,)
    if not files:
        raise PocketlensError(f"{printable(path)} must hold .npy files, it holds none.")
    given = {"path": path, "test": test, "val": val, "split_column": split_column, "merge_names": merge_names or None}
    asked = asked_of("npz", given, test)
    rule = () if folders.hold_out == 1 else (folders.hold_out,)
    key = Key(files, repr(("npz 2", asked.typed.options[1:], *rule)), folders.tally)
    return parts(find(key) or _read(source, key, asked, folders.hold_out), "npz")


def _read(source: Path, key: Key, asked: Asked, hold_out: int) -> Entry:
    found = arrays(source)
    development = _pair(found, _DEVELOPMENT)
    if development is None:
        wanted = " or ".join(f"{images!r} with {labels!r}" for images, labels in _DEVELOPMENT)
        raise PocketlensError(
            f"{printable(str(source))} must hold the arrays {wanted}; it holds {printable(', '.join(found)) or 'none'}."
        )
    validation, test = _pair(found, _VALIDATION), _pair(found, _TEST)
    pairs = [pair for pair in (development, validation, test) if pair is not None]
    values = [_values(labels, images) for images, labels in pairs]
    shapes = {_shape(images) for images, _ in pairs}
    if len(shapes) > 1:
        raise PocketlensError(f"{printable(str(source))}: all images must have one shape, they have {sorted(shapes)}.")
    if len({each.dtype.kind for each in values}) > 1:
        raise PocketlensError(f"{printable(str(source))}: all labels must be numbers, or all must be texts.")
    together, merge = np.concatenate(values), bool(dict(asked.typed.options).get("merge_names"))
    naming = Naming(printable(str(source)), _class_names(found, together), merge, asked.text(merge_names=True))
    named = number_labels(together, naming)
    roles = [role for role, pair in zip(("train", "val", "test"), (development, validation, test), strict=True) if pair]
    given = [role for role, each in zip(roles, values, strict=True) for _ in each]
    rows = _parts(given, named, _split(found, development[1], asked), asked)
    columns, notes = {"labels": named.labels, **rows.columns}, (*rows.notes, *named.notes)
    table = Table(columns, named.classes, rows.held, None, notes, hold_out=hold_out)
    return store(key, _chunks([images for images, _ in pairs]), table)


def _parts(given: list[str], named: ClassLabels, split: SplitColumn | None, asked: Asked) -> RowParts:
    """The parts of the rows: by the names of the arrays, and by the array of parts beside the first of them."""
    if split is not None:
        given = [*split.parts, *given[len(split.parts) :]]
    if set(given) == {"train"} and (asked.test is not None or asked.val is not None):
        raise PocketlensError(
            f"{asked.shown} must hold an array with the part of each image, such as 'split', where test or val names "
            "one of its values."
        )
    if set(given) <= {"train", "test"} and split is None:
        return RowParts(np.array([role == "test" for role in given], bool) if "test" in given else None, {}, ())
    rows = row_parts(given, [named.classes[label] for label in named.labels], None, asked)
    return rows if split is None else replace(rows, notes=(*rows.notes, split.note))


def _split(found: dict[str, Array], labels: Array, asked: Asked) -> SplitColumn | None:
    """What the array of parts says of the images that stand beside it."""
    wanted = dict(asked.typed.options).get("split_column")
    if wanted == NO_COLUMN:
        return None
    names = list(found)
    where = printable(str(labels.path))
    near = nearest(str(wanted), names)
    typed = "" if near is None else asked.text(split_column=near)
    places = split_columns(names) if wanted is None else [named_column(names, wanted, "split_column", where, typed)]
    read: dict[str, SplitColumn] = {}
    for name in (names[place] for place in places):
        array = found[name]
        if array.shape[:1] == labels.shape[:1] and len(array.shape) == 1 and array.dtype.kind in "uibUS":
            said = read_split(name, [str(value) for value in _texts(read_all(array))], where, wanted is not None)
            read |= {} if said is None else {name: said}
        elif wanted is not None:
            raise PocketlensError(
                f"{array.name} must hold one value for each of the {counted(labels.shape[0], 'label')}."
            )
    if len(read) > 1:
        choices = [asked.text(split_column=name) for name in (*read, NO_COLUMN)]
        raise PocketlensError(
            f"{where}: {counted(len(read), 'array')} could name the parts. Type one of: {listed(choices)}."
        )
    return next(iter(read.values()), None)


def _pair(found: dict[str, Array], names: tuple[tuple[str, str], ...]) -> tuple[Array, Array] | None:
    for images, labels in names:
        if images in found and labels in found:
            return found[images], found[labels]
    return None


def _shape(images: Array) -> tuple[int, int, int]:
    shape = images.shape if len(images.shape) == 4 else (*images.shape, 1)
    if images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
        raise PocketlensError(
            f"{images.name} must be uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), it is {images.dtype} "
            f"{images.shape}."
        )
    return shape[1], shape[2], shape[3]


def _values(labels: Array, images: Array) -> NDArray[Any]:
    """(N,) whole numbers or texts."""
    shape = labels.shape[:1] if len(labels.shape) == 2 and labels.shape[1] == 1 else labels.shape
    if labels.dtype.kind not in "uibUS" or len(shape) != 1:
        raise PocketlensError(
            f"{labels.name} must be whole numbers or texts of shape (N,), it is {labels.dtype} {labels.shape}."
        )
    if not images.shape or shape[0] != images.shape[0]:
        raise PocketlensError(f"{labels.name} must have one label for each image {images.shape[:1]}, it is {shape}.")
    values = read_all(labels).reshape(-1)
    if values.dtype == np.uint64 and values.max(initial=0) > np.iinfo(np.int64).max:
        raise PocketlensError(f"{labels.name} must be whole numbers below 2**63.")
    return _texts(values)


def _texts(values: NDArray[Any]) -> NDArray[Any]:
    """Texts, also of bytes, or int64, with 1 for True."""
    if values.dtype.kind in "SU":
        return np.char.decode(values, "utf-8", "backslashreplace") if values.dtype.kind == "S" else values
    return values.astype(np.int64)


def _class_names(found: dict[str, Array], labels: NDArray[Any]) -> tuple[str, ...] | None:
    """The names of the classes, where the file gives them."""
    if "classes" not in found:
        return None
    names = found["classes"]
    n_classes = 1 if labels.dtype.kind == "U" else int(labels.max(initial=-1)) + 1
    if names.dtype.kind != "U" or len(names.shape) != 1 or names.shape[0] < n_classes:
        raise PocketlensError(
            f"{names.name} must hold at least {n_classes} strings, because labels go up to {n_classes - 1}; it is "
            f"{names.dtype} {names.shape}."
        )
    return tuple(str(name) for name in read_all(names))


def _chunks(images: list[Array]) -> Iterator[Images]:
    for array in images:
        height, width, channels = _shape(array)
        for chunk in read_chunks(array, chunk_rows((height, width, channels))):
            yield chunk.reshape(-1, height, width, channels)
