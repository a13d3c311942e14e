"""IDX files and the raw binaries: wrong magic, wrong lengths, wrong labels end in one line with both sizes."""

from __future__ import annotations

import gzip
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_images import cifar_rows, planes, random_images, refused

from pocketlens.data.sources.idx import open_idx, read_chunks, read_labels
from pocketlens.data.sources.npy import arrays, read_all
from pocketlens.datasets import load
from pocketlens.errors import PocketlensError


def idx(array: np.ndarray) -> bytes:
    return (
        bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_images_come_back_in_chunks(tmp_path: Path, name: str) -> None:
    images = random_images(11, (5, 4))
    data = idx(images)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    header = open_idx(tmp_path / name, 3)
    assert header.shape == (11, 5, 4)
    assert np.array_equal(np.concatenate(list(read_chunks(header, 4))), images)


BAD = {
    "magic": (lambda data: b"\x01" + data[1:], "must begin with 00000803"),
    "labels instead": (lambda data: data[:3] + b"\x01" + data[4:], "must begin with 00000803"),
    "short": (lambda data: data[:-1], "236"),
    "long": (lambda data: data + b"x", "236"),
    "2^32 rows": (lambda data: data[:4] + b"\xff\xff\xff\xff" + data[8:], "4294967295"),
    "all huge": (lambda data: data[:4] + b"\xff" * 12 + data[16:], "4294967295"),
    "no rows": (lambda data: data[:4] + bytes(4) + data[8:], "(0, 5, 4)"),
    "header only": (lambda data: data[:9], "must begin with"),
    "empty": (lambda data: b"", "must begin with"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_headers_are_refused(tmp_path: Path, case: str, packed: bool) -> None:
    change, part = BAD[case]
    data = change(idx(random_images(11, (5, 4))))
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(data) if packed else data)
    with refused(str(path), "" if packed else part):
        list(read_chunks(open_idx(path, 3), 4))


def test_counts_and_labels_must_fit(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(idx(np.array([1, 2, 255])))
    with refused("0..9", "row 2 has 255"):
        read_labels(tmp_path / "labels", 3, 10)
    with refused("must hold 4 labels", "it holds 3"):
        read_labels(tmp_path / "labels", 4, 10)


def test_a_damaged_gzip_is_refused(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(idx(random_images(50, (28, 28)))))
    for cut in (len(data) // 2, len(data) - 4):
        (tmp_path / "a.gz").write_bytes(data[:cut])
        with refused("a.gz"):
            list(read_chunks(open_idx(tmp_path / "a.gz", 3), 16))
    data[-6] ^= 1
    (tmp_path / "a.gz").write_bytes(data)
    with refused("a.gz"):
        list(read_chunks(open_idx(tmp_path / "a.gz", 3), 16))


@pytest.mark.parametrize("case", ["binary length", "binary label", "stl length", "stl count", "stl label"])
def test_binaries_say_what_was_expected_and_found(tmp_path: Path, case: str) -> None:
    if case.startswith("binary"):
        images, fine, coarse = cifar_rows(120)
        rows = np.concatenate([coarse[:, None], fine[:, None], planes(images)], 1).astype(np.uint8)
        if case == "binary label":
            rows[7, 1] = 255
        folder = tmp_path / "cifar100"
        folder.mkdir()
        for name in ("train.bin", "test.bin"):
            (folder / name).write_bytes(rows.tobytes()[: -5 if case == "binary length" else None])
        with refused("multiple of 3074 bytes" if case == "binary length" else "row 7 has 255"):
            load("cifar100", tmp_path)
        return
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    labels = np.array([1, 2, 10], np.uint8)
    if case == "stl label":
        labels[1] = 0
    for part in ("train", "test"):
        (folder / f"{part}_X.bin").write_bytes(
            random_images(3, (27648,)).tobytes()[: -1 if case == "stl length" else None]
        )
        (folder / f"{part}_y.bin").write_bytes(labels.tobytes()[: 2 if case == "stl count" else None])
    parts = {"stl length": "multiple of 27648", "stl count": "must hold 3 labels", "stl label": "row 1 has 0"}
    with refused(parts[case]):
        load("stl10", tmp_path)


def fuzz(path: Path, good: bytes, read: Callable[[], object], n: int) -> int:
    """Reads n mutations; how many were refused. Anything but a refusal of one line fails, and so does a slow one."""
    rng = np.random.default_rng(len(good))
    messages: list[str] = []
    for _ in range(n):
        data = bytearray(good)
        for _ in range(rng.integers(1, 5)):
            data[rng.integers(min(len(data), 200))] = rng.integers(256)
        if rng.random() < 0.3:
            data = data[: rng.integers(0, len(data))]
        path.write_bytes(bytes(data))
        start = time.process_time()
        try:
            read()
        except PocketlensError as error:
            messages.append(str(error))
        assert time.process_time() - start < 2
    assert all(message.isprintable() for message in messages)
    return len(messages)


def fuzz_all(folder: Path, n: int) -> None:
    images = random_images(11, (5, 4))
    plain, packed, npy, npz = (folder / name for name in ("plain", "packed.gz", "images.npy", "images.npz"))
    np.save(npy, images)
    np.savez(npz, images=images, labels=np.arange(11))
    good_npy, good_npz = npy.read_bytes(), npz.read_bytes()
    assert fuzz(plain, idx(images), lambda: list(read_chunks(open_idx(plain, 3), 4)), n) > n / 10
    assert fuzz(packed, gzip.compress(idx(images)), lambda: list(read_chunks(open_idx(packed, 3), 4)), n) > n / 10
    assert fuzz(npz, good_npz, lambda: [read_all(array) for array in arrays(npz).values()], n) > n / 10
    (folder / "alone").mkdir()
    alone = folder / "alone" / "images.npy"
    assert fuzz(alone, good_npy, lambda: [read_all(array) for array in arrays(folder / "alone").values()], n) > n / 10


@pytest.mark.filterwarnings("ignore")
def test_mutated_files_never_raise_anything_else(tmp_path: Path) -> None:
    fuzz_all(tmp_path, 60)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_thousand_mutated_files(tmp_path: Path) -> None:
    fuzz_all(tmp_path, 500)
