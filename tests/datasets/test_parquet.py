"""Parquet as a data set: layouts that are known, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_images import encoded, random_images, refused

from pocketlens.data.split import make_split
from pocketlens.datasets import load

IMAGES = random_images(40, (6, 5, 3))
BYTES = [encoded(image) for image in IMAGES]
LABELS = [row % 4 for row in range(40)]
CELLS = [{"bytes": data, "path": f"{row}.png"} for row, data in enumerate(BYTES)]


def write(path: Path, columns: dict[str, Any], names: list[str] | None = None, group: int = 10) -> str:
    table = pa.table(columns)
    if names is not None:
        features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path, row_group_size=group)
    return str(path)


@pytest.mark.parametrize("images", [CELLS, BYTES], ids=["struct", "bytes"])
def test_a_file_is_read(tmp_path: Path, images: list[Any]) -> None:
    text = write(tmp_path / "a.parquet", {"image": images, "label": LABELS}, ["w", "x", "y", "z"])
    dataset, test = load(text)
    assert dataset.classes == ("w", "x", "y", "z")
    assert (len(dataset), len(test)) == (32, 8)
    known = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    assert all(known[image.tobytes()] == label for image, label in zip(dataset.images, dataset.labels, strict=True))
    assert dataset.files is not None
    assert dataset.files[0].endswith(".png" if images is CELLS else tuple("0123456789"))


def test_text_labels_groups_and_other_column_names(tmp_path: Path) -> None:
    texts = ["10" if label == 0 else str(label) for label in LABELS]
    slides = [row // 5 for row in range(40)]
    text = write(tmp_path / "a.parquet", {"scan": BYTES, "kind": texts, "slide": slides})
    dataset, test = load(f"parquet({text!r}, image='scan', label='kind', group='slide')")
    assert dataset.classes == ("1", "2", "3", "10")
    assert dataset.groups is not None
    assert len(np.unique(dataset.groups)) + len(test) // 5 == 8


def test_the_classes_are_the_labels_that_occur(tmp_path: Path) -> None:
    text = write(tmp_path / "a.parquet", {"image": BYTES, "label": [[3, 900, 17, 3][label] for label in LABELS]})
    assert load(text)[0].classes == ("3", "17", "900")
    kinds = pa.array([["x", "y"][label % 2] for label in LABELS]).dictionary_encode()
    assert load(write(tmp_path / "b.parquet", {"image": BYTES, "label": kinds}))[0].classes == ("x", "y")
    flags = [label % 2 == 0 for label in LABELS]
    assert load(write(tmp_path / "c.parquet", {"image": BYTES, "label": flags}))[0].classes == ("0", "1")


def test_columns_are_known_by_the_names_that_people_use(tmp_path: Path) -> None:
    text = write(tmp_path / "a.parquet", {"Image Bytes": BYTES, "id": LABELS, "Class_Name": list(map(str, LABELS))})
    assert load(text)[0].classes == ("0", "1", "2", "3")
    other = write(tmp_path / "b.parquet", {"scan": BYTES, "DIAGNOSIS": LABELS, "breed": [row % 3 for row in range(40)]})
    with refused("2 columns could hold the labels", "label='DIAGNOSIS'", "label='breed'"):
        load(other)
    assert load(f"parquet({other!r}, label='breed')")[0].classes == ("0", "1", "2")


def test_class_names_that_differ_by_case_alone(tmp_path: Path) -> None:
    text = write(
        tmp_path / "a.parquet", {"image": BYTES, "label": [["Cat", "cat", "dog ", "eel"][label] for label in LABELS]}
    )
    with refused("'Cat' (10) and 'cat' (10)", "merge_names=True"):
        load(text)
    assert load(f"parquet({text!r}, merge_names=True)")[0].classes == ("Cat", "dog ", "eel")


def test_a_column_of_parts(tmp_path: Path) -> None:
    parts = [["train", "dev", "train", "Test"][row // 10] for row in range(40)]
    text = write(tmp_path / "a.parquet", {"image": BYTES, "label": LABELS, "split": parts})
    dataset, test = load(text)
    assert np.array_equal(np.concatenate(list(test.images_without_labels())), IMAGES[30:])
    assert make_split(dataset).val.tolist() == list(range(10, 20))
    assert dataset.notes[:2] == (
        "parts: 20 rows train, 10 validate, 10 are the sealed test part",
        "the column 'split' of a.parquet gives the parts: Test is test, dev is val",
    )
    assert len(load(f"parquet({text!r}, split_column='none')")[1]) == 8
    text = write(tmp_path / "b.parquet", {"image": BYTES, "label": LABELS, "is_test": [row < 10 for row in range(40)]})
    assert np.array_equal(np.concatenate(list(load(text)[1].images_without_labels())), IMAGES[:10])
    text = write(tmp_path / "c.parquet", {"image": BYTES, "label": LABELS, "fold": [row // 8 for row in range(40)]})
    with refused("has the folds", "test='fold4'"):
        load(text)
    assert np.array_equal(
        np.concatenate(list(load(f"parquet({text!r}, test='fold1')")[1].images_without_labels())), IMAGES[8:16]
    )


def test_a_file_of_validation_rows(tmp_path: Path) -> None:
    for name, rows in (("train-0", slice(0, 20)), ("validation-0", slice(20, 30)), ("test-0", slice(30, 40))):
        write(tmp_path / f"{name}.parquet", {"img": CELLS[rows], "label": LABELS[rows]})
    dataset, _ = load(str(tmp_path))
    assert np.array_equal(dataset.images, IMAGES[:30])
    assert make_split(dataset).val.tolist() == list(range(20, 30))


def test_official_parts_by_file_name(tmp_path: Path) -> None:
    for name, rows in (("train-0", slice(0, 15)), ("train-1", slice(15, 30)), ("test-0", slice(30, 40))):
        write(tmp_path / f"{name}.parquet", {"img": CELLS[rows], "label": LABELS[rows]})
    dataset, test = load(str(tmp_path))
    assert np.array_equal(dataset.images, IMAGES[:30])
    assert np.array_equal(np.concatenate(list(test.images_without_labels())), IMAGES[30:])


def test_rows_without_an_image_that_is_good_are_named_or_left_out(tmp_path: Path) -> None:
    cells = [*CELLS[:3], {"bytes": b"nothing", "path": "../../x"}, *CELLS[4:]]
    text = write(tmp_path / "a.parquet", {"image": cells, "label": LABELS})
    with refused("1 of 40 images cannot be read", "../../x", "bad='skip'"):
        load(text)
    dataset, test = load(f"parquet({text!r}, bad='skip')")
    assert len(dataset) + len(test) == 39
    assert any("skipped" in note for note in dataset.notes)


class Opaque(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.binary(), "test.opaque")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Opaque:
        return cls()


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no label": ({"image": BYTES}, "a column of labels named label or"),
    "no image": ({"label": LABELS}, "a column of images named image or"),
    "null label": ({"image": BYTES, "label": [None, *LABELS[1:]]}, "1 have none"),
    "null image": ({"image": [None, *BYTES[1:]], "label": LABELS}, "must hold an image's bytes"),
    "only paths": ({"image": [{"bytes": None, "path": "../../etc/passwd"}] * 40, "label": LABELS}, "type is struct"),
    "null bytes": ({"image": [{"bytes": None, "path": "../../x"}, *CELLS[1:]], "label": LABELS}, "an image's bytes"),
    "path column": ({"image": ["../../x.png"] * 40, "label": LABELS}, "must hold images as bytes"),
    "float label": ({"image": BYTES, "label": [label / 1 for label in LABELS]}, "whole numbers or strings"),
    "list label": ({"image": BYTES, "label": [[label] for label in LABELS]}, "whole numbers or strings"),
    "negative": ({"image": BYTES, "label": [-1, *LABELS[1:]]}, "row 0 has -1"),
    "empty text": ({"image": BYTES, "label": ["", "a"] * 20}, "20 of 40 labels are empty: row 0, row 2"),
    "empty": ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "at least one image"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_columns_are_refused(tmp_path: Path, case: str) -> None:
    columns, part = BAD[case]
    with refused(part):
        load(write(tmp_path / "bad.parquet", columns))


def test_an_extension_type_is_refused(tmp_path: Path) -> None:
    kind = Opaque()
    pa.register_extension_type(kind)
    try:
        column = pa.ExtensionArray.from_storage(kind, pa.array(BYTES, pa.binary()))
        with refused("must hold images as bytes"):
            load(write(tmp_path / "bad.parquet", {"image": column, "label": LABELS}))
    finally:
        pa.unregister_extension_type("test.opaque")


def test_a_label_beyond_the_names_is_refused(tmp_path: Path) -> None:
    with refused("labels must be 0..1", "row 2 has 2"):
        load(write(tmp_path / "bad.parquet", {"image": BYTES, "label": LABELS}, ["a", "b"]))


def test_shards_of_different_types_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"image": BYTES, "label": LABELS})
    write(tmp_path / "b.parquet", {"image": BYTES, "label": list(map(str, LABELS))})
    with refused("b.parquet", "same columns and types as a.parquet"):
        load(str(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_file_is_refused(tmp_path: Path, share: float) -> None:
    path = Path(write(tmp_path / "a.parquet", {"image": BYTES, "label": LABELS}))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with refused("a.parquet"):
        load(str(path))
    path.write_bytes(data[:100] + bytes(3000) + data[3100:])
    with refused("a.parquet"):
        load(str(path))


def test_mixed_sizes_are_brought_to_one(tmp_path: Path) -> None:
    text = write(
        tmp_path / "a.parquet", {"image": [*BYTES[:-1], encoded(random_images(1, (9, 9, 3))[0])], "label": LABELS}
    )
    with refused("from 5 x 6 to 9 x 9 px", ", size=32)"):
        load(text, aim=None)
    assert load(text)[0].shape == (8, 8, 3)
    assert load(f"parquet({text!r}, size=8)")[0].shape == (8, 8, 3)
