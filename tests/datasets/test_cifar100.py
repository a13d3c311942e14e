"""CIFAR-100: one order of classes, one split, whatever the format."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_images import cifar_pickles, cifar_rows, encoded, planes, refused

from pocketlens.data.split import make_split
from pocketlens.datasets import load
from pocketlens.datasets.cifar100 import CLASSES, SUPERCLASS_OF, SUPERCLASSES

ALL = ("python", "binary", "parquet", "python archive", "binary archive")


def made(folder: Path, kind: str) -> Path:
    """The same images in one of the formats; parquet has its rows in another order."""
    place = folder / "cifar100"
    if kind.startswith("python"):
        cifar_pickles(place)
    elif kind.startswith("binary"):
        (place / "cifar-100-binary").mkdir(parents=True)
        for name, n, seed in (("train", 400, 1), ("test", 200, 2)):
            images, fine, coarse = cifar_rows(n, seed)
            rows = np.concatenate([coarse[:, None], fine[:, None], planes(images)], 1).astype(np.uint8)
            (place / "cifar-100-binary" / f"{name}.bin").write_bytes(rows.tobytes())
    else:
        place.mkdir(parents=True)
        for name, n, seed in (("train", 400, 1), ("test", 200, 2)):
            images, fine, coarse = cifar_rows(n, seed)
            order = np.random.default_rng(0).permutation(n)
            cells = [{"bytes": encoded(images[row]), "path": f"{name}_{row}.png"} for row in order]
            columns = {"img": cells, "fine_label": fine[order], "coarse_label": coarse[order]}
            pq.write_table(pa.table(columns), place / f"{name}-00000-of-00001.parquet")
    if kind.endswith("archive"):
        inside = next(place.iterdir())
        with tarfile.open(place / f"{inside.name}.tar.gz", "w:gz", compresslevel=1) as bundle:
            bundle.add(inside, inside.name)
        for path in inside.iterdir():
            path.unlink()
        inside.rmdir()
    return folder


def test_the_official_classes() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 100
    assert list(CLASSES) == sorted(CLASSES)
    assert CLASSES[:3] == ("apple", "aquarium_fish", "baby")
    assert len(SUPERCLASSES) == 20
    assert list(SUPERCLASSES) == sorted(SUPERCLASSES)
    assert np.bincount(SUPERCLASS_OF).tolist() == [5] * 20
    assert SUPERCLASSES[SUPERCLASS_OF[CLASSES.index("otter")]] == "aquatic_mammals"


@pytest.mark.parametrize("kind", ALL)
def test_rows_keep_the_order_of_the_source(tmp_path: Path, kind: str) -> None:
    dataset, test = load("cifar100", made(tmp_path, kind))
    images, fine, _ = cifar_rows(400, 1)
    order = np.random.default_rng(0).permutation(400) if kind == "parquet" else np.arange(400)
    assert np.array_equal(dataset.images, images[order])
    assert np.array_equal(dataset.labels, fine[order])
    assert dataset.classes == CLASSES
    assert dataset.superclasses == SUPERCLASSES
    assert dataset.superclass_of == SUPERCLASS_OF
    assert len(test) == 200
    assert (
        dataset.files is None
        if kind.startswith("binary")
        else dataset.files == tuple(f"train_{row}.png" for row in order)
    )
    assert any("officially 50000 + 10000" in note for note in dataset.notes)


@pytest.mark.parametrize("labels", ["fine", "coarse"])
def test_the_split_is_the_same_from_every_format(tmp_path: Path, labels: str) -> None:
    chosen = []
    for kind in ("python", "binary", "parquet"):
        dataset, test = load(f"cifar100(labels={labels!r})", made(tmp_path / kind, kind))
        split = make_split(dataset, val_fraction=0.25, seed=3)
        chosen.append({dataset.hashes[row].tobytes() for row in split.val})
        chosen.append({test.fingerprint.encode()})
        counts = np.bincount(dataset.labels[split.val], minlength=len(dataset.classes))
        assert (counts == 100 // len(dataset.classes)).all()
    assert chosen[0] == chosen[2] == chosen[4]
    assert chosen[1] == chosen[3] == chosen[5]
    assert len(chosen[0]) == 100


def test_fine_and_coarse_share_the_split(tmp_path: Path) -> None:
    folder = made(tmp_path, "python")
    fine, coarse = (load(f"cifar100(labels={labels!r})", folder)[0] for labels in ("fine", "coarse"))
    assert coarse.classes == coarse.superclasses == SUPERCLASSES
    assert np.array_equal(np.array(SUPERCLASS_OF)[fine.labels], coarse.labels)
    assert coarse.strata is not None
    assert np.array_equal(coarse.strata, fine.labels)
    assert np.array_equal(make_split(fine).val, make_split(coarse).val)


def changed(content: dict[bytes, Any], case: str) -> Any:
    content = dict(content)
    if case == "not a dict":
        return [content]
    if case == "no key":
        del content[b"fine_labels"]
    elif case == "float data":
        content[b"data"] = content[b"data"].astype(np.float32)
    elif case == "wrong width":
        content[b"data"] = content[b"data"][:, :-1].copy()
    elif case == "counts":
        content[b"fine_labels"] = content[b"fine_labels"][:-1]
    elif case == "label 100":
        content[b"fine_labels"] = [100, *content[b"fine_labels"][1:]]
    elif case == "other superclass":
        content[b"coarse_labels"] = [0, *content[b"coarse_labels"][1:]]
    elif case == "texts":
        content[b"fine_labels"] = [b"cat"] * len(content[b"fine_labels"])
    return content


PARTS = {
    "not a dict": "must hold a dict",
    "no key": "the key 'fine_labels'",
    "float data": "'data' must be an array of uint8",
    "wrong width": "(N, 3072)",
    "counts": "a fine and a coarse label for each",
    "label 100": "row 0 has 100",
    "other superclass": "the superclass of 'apple' is 'fruit_and_vegetables'",
    "texts": "'fine_labels' must be an array",
}


@pytest.mark.parametrize("case", sorted(PARTS))
def test_batches_with_other_content_are_refused(tmp_path: Path, case: str) -> None:
    made(tmp_path, "python")
    path = tmp_path / "cifar100" / "cifar-100-python" / "train"
    path.write_bytes(pickle.dumps(changed(pickle.loads(path.read_bytes()), case), protocol=2))
    with refused(PARTS[case]):
        load("cifar100", tmp_path)


def test_other_class_names_in_parquet_are_refused(tmp_path: Path) -> None:
    made(tmp_path, "parquet")
    path = tmp_path / "cifar100" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    names = '{"info": {"features": {"fine_label": {"names": ["cat", "dog"]}}}}'
    for file in (path, path.with_name("test-00000-of-00001.parquet")):
        pq.write_table(pq.read_table(file).replace_schema_metadata({"huggingface": names}), file)
    assert table.num_rows == 400
    with refused("not those of CIFAR-100"):
        load("cifar100", tmp_path)


def test_an_archive_without_the_batches_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar100").mkdir()
    with tarfile.open(tmp_path / "cifar100" / "cifar-100-python.tar.gz", "w:gz") as bundle:
        bundle.addfile(tarfile.TarInfo("cifar-100-python/train"))
    with refused("must hold cifar-100-python/test"):
        load("cifar100", tmp_path)


def test_an_unknown_labels_option_is_refused() -> None:
    with refused("'fine' or 'coarse'", "'middle'"):
        load("cifar100(labels='middle')")


@pytest.mark.slow
def test_the_real_data(data_folder: Path) -> None:
    dataset, test = load("cifar100", data_folder)
    mean, deviation = dataset.images.mean((0, 1, 2)) / 255, dataset.images.std((0, 1, 2)) / 255
    assert np.abs(mean - (0.5071, 0.4865, 0.4409)).max() < 1e-4
    assert np.abs(deviation - (0.2673, 0.2564, 0.2762)).max() < 1e-4
    assert np.bincount(dataset.labels).tolist() == [500] * 100
    assert (len(dataset), len(test)) == (50_000, 10_000)
    again, _ = load("cifar100", data_folder)
    assert again.fingerprint == dataset.fingerprint
    assert hashlib.md5(again.hashes.tobytes()).digest() == hashlib.md5(dataset.hashes.tobytes()).digest()
