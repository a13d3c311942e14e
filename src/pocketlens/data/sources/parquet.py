"""Reads parquet files that hold encoded images: a column of bytes, or of `{bytes, path}` as on the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pocketlens.data.sources import columns
from pocketlens.data.sources.columns import IMAGE, LABEL
from pocketlens.errors import PocketlensError, closest
from pocketlens.text import listed, printable

_BATCH = 256


@dataclass(frozen=True)
class Shards:
    """Parquet files of one layout, read one after the other."""

    files: tuple[Path, ...]
    schema: pa.Schema
    n_rows: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.n_rows)


@dataclass(frozen=True)
class ImageColumn:
    """The encoded images of a column, row by row; can be iterated several times, and holds a batch at most."""

    shards: Shards
    column: str

    def __iter__(self) -> Iterator[bytes]:
        for path, batch in _batches(self.shards, self.column):
            cells = batch.column(0)
            inner = cells.field("bytes") if pa.types.is_struct(cells.type) else cells
            for image in inner.to_pylist():
                if image is None:
                    raise PocketlensError(
                        f"{path}: every row of column {self.column!r} must hold an image's bytes; one row holds none."
                    )
                yield image


def open_shards(files: tuple[Path, ...]) -> Shards:
    """Reads the footers of parquet files and checks that their columns agree.

    Raises:
        PocketlensError: a file is not parquet, or the columns differ.
    """
    schemas, counts = [], []
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                schemas.append(file.schema_arrow)
                counts.append(file.metadata.num_rows)
        except (pa.ArrowException, OSError) as error:
            raise PocketlensError(
                f"{path} must be a complete parquet file; it cannot be read ({_brief(error)})."
            ) from None
        if not schemas[-1].equals(schemas[0]):
            raise PocketlensError(f"{path} must have the same columns and types as {files[0].name}.")
    return Shards(files, schemas[0], tuple(counts))


def image_column(shards: Shards, name: str | None) -> ImageColumn:
    """The column of images: the one named, the first with a usual name, or the only one that holds bytes.

    Raises:
        PocketlensError: there is none, or its type is not bytes.
    """
    known = _known(shards, IMAGE) or [field.name for field in shards.schema if _holds_bytes(field.type)]
    column = _named(shards, name, known, f"a column of images named {' or '.join(IMAGE[:5])}")
    kind = shards.schema.field(column).type
    if not _holds_bytes(kind):
        raise PocketlensError(
            f"{shards.files[0]}: the column {column!r} must hold images as bytes or as {{bytes, path}}, its type is "
            f"{_type_name(kind)}."
        )
    return ImageColumn(shards, column)


def label_column(shards: Shards, name: str | None) -> str:
    """The name of the column of labels: the one named, or the first with a usual name."""
    known = label_columns(shards)
    return _named(shards, name, known, f"a column of labels named {' or '.join(LABEL[:4])}")


def label_columns(shards: Shards) -> list[str]:
    """The columns that may hold the labels, by their names, the likeliest first."""
    return _known(shards, ("label", "finelabel", *LABEL))


def split_columns(shards: Shards) -> list[str]:
    """The columns that may say to which part a row belongs."""
    names = [shards.schema.names[column] for column in columns.split_columns(shards.schema.names)]
    return [name for name in names if _is_listed(_plain(shards.schema.field(name).type))]


def column_named(shards: Shards, name: str, option: str) -> str:
    """The column that an option names: as it is written, or by the same letters and digits."""
    return str(shards.schema.names[columns.named_column(shards.schema.names, name, option, str(shards.files[0]))])


def read_texts(shards: Shards, column: str) -> list[str]:
    """The values of a column of numbers, texts, or True and False, as texts; "" where there is none."""
    values: list[str] = []
    for read in _batches(shards, column):
        values += ["" if value is None else str(value).strip() for value in read.batch.column(0).to_pylist()]
    return values


def read_values(shards: Shards, column: str) -> list[int] | list[str]:
    """The values of a column of whole numbers or of texts.

    Raises:
        PocketlensError: the column is missing, of another type, or holds nulls.
    """
    _named(shards, column, [], "")
    kind = shards.schema.field(column).type
    if not _is_listed(_plain(kind)):
        raise PocketlensError(
            f"{shards.files[0]}: the column {column!r} must hold whole numbers or strings, its type is "
            f"{_type_name(kind)}."
        )
    values: list[Any] = []
    for read in _batches(shards, column):
        values += read.batch.column(0).to_pylist()
    empty = [f"row {row}" for row, value in enumerate(values) if value is None]
    if empty:
        raise PocketlensError(
            f"{shards.files[0]}: the column {column!r} must have a value in every row, {len(empty)} have none: "
            f"{listed(empty, 5)}."
        )
    return [int(value) for value in values] if pa.types.is_boolean(_plain(kind)) else values


def read_numbers(shards: Shards, column: str) -> NDArray[np.int64]:
    """(N,) int64: the values of a column of whole numbers."""
    values = read_values(shards, column)
    if values and isinstance(values[0], str):
        raise PocketlensError(f"{shards.files[0]}: the column {column!r} must hold whole numbers, it holds strings.")
    if any(not -(2**63) <= int(value) < 2**63 for value in values):
        raise PocketlensError(f"{shards.files[0]}: the numbers of column {column!r} must fit into 64 bits.")
    return np.array(values, np.int64)


def read_paths(images: ImageColumn) -> tuple[str, ...] | None:
    """The `path` beside each image, only to be shown (nothing is opened by it); None where there is none."""
    kind = images.shards.schema.field(images.column).type
    if (
        not pa.types.is_struct(kind)
        or kind.get_field_index("path") < 0
        or not pa.types.is_string(kind.field("path").type)
    ):
        return None
    paths: list[str | None] = []
    for read in _batches(images.shards, f"{images.column}.path"):
        paths += read.batch.column(0).field("path").to_pylist()
    return tuple(printable(path) for path in paths if path is not None) if None not in paths else None


def class_names(shards: Shards, column: str) -> tuple[str, ...] | None:
    """The names of the classes as the Hugging Face metadata give them, or None."""
    try:
        features = json.loads((shards.schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


class _ReadBatch(NamedTuple):
    """Some rows of a column, and the file that they were read from."""

    path: Path
    batch: pa.RecordBatch


def _batches(shards: Shards, column: str) -> Iterator[_ReadBatch]:
    for path in shards.files:
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(_BATCH, columns=[column], use_threads=False):
                    yield _ReadBatch(path, batch)
        except (pa.ArrowException, OSError) as error:
            raise PocketlensError(f"{path} is damaged ({_brief(error)}).") from None


def _known(shards: Shards, known: Sequence[str]) -> list[str]:
    names = shards.schema.names
    return [names[column] for column in columns.known_columns(names, known)]


def _named(shards: Shards, name: str | None, known: Sequence[str], wanted: str) -> str:
    """The column that was named, or the first of those that are known; its name must be its own."""
    names = shards.schema.names
    found = [name] if name is not None else list(known)
    if name is not None and name not in names:
        found = [each for each in names if columns.folded(each) == columns.folded(name)]
    if not found or names.count(found[0]) != 1:
        hint = closest(name, names) if name is not None else f" There are: {', '.join(map(printable, names))}."
        raise PocketlensError(
            f"{shards.files[0]} must have {wanted if name is None else f'a column {name!r}'}, once.{printable(hint)}"
        )
    return str(found[0])


def _holds_bytes(kind: pa.DataType) -> bool:
    inner = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    return bool(pa.types.is_binary(inner) or pa.types.is_large_binary(inner))


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values; pandas writes categories as a dictionary of them."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_listed(kind: pa.DataType) -> bool:
    """Whether values of this type can be labels."""
    tests = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _type_name(kind: pa.DataType) -> str:
    return printable(str(kind))[:80]


def _brief(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:160]
