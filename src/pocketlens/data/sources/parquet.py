"""Reads parquet files that hold encoded images: a column of bytes, or of `{bytes, path}` as on the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pocketlens.errors import PocketlensError, closest
from pocketlens.text import printable

_BATCH = 256
_IMAGE = ("image", "img", "png", "jpg", "bytes")
_LABEL = ("label", "fine_label", "class", "target", "category")


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
    """The column of images: the one named, or the first that can be one.

    Raises:
        PocketlensError: there is none, or its type is not bytes.
    """
    column = _named(shards, name, _IMAGE, "images")
    kind = shards.schema.field(column).type
    inner = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    if not (pa.types.is_binary(inner) or pa.types.is_large_binary(inner)):
        raise PocketlensError(
            f"{shards.files[0]}: the column {column!r} must hold images as bytes or as {{bytes, path}}, its type is "
            f"{_type_name(kind)}."
        )
    return ImageColumn(shards, column)


def label_column(shards: Shards, name: str | None) -> str:
    """The name of the column of labels: the one named, or the first that can be one."""
    return _named(shards, name, _LABEL, "labels")


def read_values(shards: Shards, column: str) -> list[int] | list[str]:
    """The values of a column of whole numbers or of texts.

    Raises:
        PocketlensError: the column is missing, of another type, or holds nulls.
    """
    _named(shards, column, (), "values")
    kind = shards.schema.field(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise PocketlensError(
            f"{shards.files[0]}: the column {column!r} must hold whole numbers or strings, its type is "
            f"{_type_name(kind)}."
        )
    values: list[Any] = []
    for path, batch in _batches(shards, column):
        cells = batch.column(0)
        if cells.null_count:
            raise PocketlensError(
                f"{path}: the column {column!r} must have a value in every row, {cells.null_count} have none."
            )
        values += cells.to_pylist()
    return values


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
    for _, batch in _batches(images.shards, f"{images.column}.path"):
        paths += batch.column(0).field("path").to_pylist()
    return tuple(printable(path) for path in paths if path is not None) if None not in paths else None


def class_names(shards: Shards, column: str) -> tuple[str, ...] | None:
    """The names of the classes as the Hugging Face metadata give them, or None."""
    try:
        features = json.loads((shards.schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _batches(shards: Shards, column: str) -> Iterator[tuple[Path, pa.RecordBatch]]:
    for path in shards.files:
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(_BATCH, columns=[column], use_threads=False):
                    yield path, batch
        except (pa.ArrowException, OSError) as error:
            raise PocketlensError(f"{path} is damaged ({_brief(error)}).") from None


def _named(shards: Shards, name: str | None, known: tuple[str, ...], what: str) -> str:
    columns = shards.schema.names
    found = [name] if name is not None else [column for column in known if column in columns]
    if not found or columns.count(found[0]) != 1:
        hint = closest(name, columns) if name is not None else f" There are: {', '.join(map(printable, columns))}."
        wanted = f"a column {name!r}" if name is not None else f"a column of {what} named {' or '.join(known)}"
        raise PocketlensError(f"{shards.files[0]} must have {wanted}, once.{printable(hint)}")
    return found[0]


def _type_name(kind: pa.DataType) -> str:
    return printable(str(kind))[:80]


def _brief(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:160]
