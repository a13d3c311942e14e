"""Loading: texts and paths, where data is looked for, the sealed test part, and data larger than memory."""

from __future__ import annotations

import gzip
import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_images import cifar_pickles, class_folder, encoded, random_images, refused

from pocketlens.data.dataset import Dataset
from pocketlens.data.sources.download import Remote
from pocketlens.datasets import component, load
from pocketlens.datasets.stl10 import CLASSES as STL10_CLASSES
from pocketlens.files import cache_folder


def test_digits_come_without_a_download() -> None:
    dataset, test = load("digits")
    assert dataset.shape == (8, 8, 1)
    assert (len(dataset), len(test)) == (1438, 359)
    assert dataset.classes == tuple("0123456789")
    assert (dataset.images.min(), dataset.images.max()) == (0, 255)
    again, again_test = load("digits")
    assert (again.fingerprint, again_test.fingerprint) == (dataset.fingerprint, test.fingerprint)
    ours = {row.tobytes() for row in dataset.hashes}
    assert not ours & {row.tobytes() for row in test.hashes}


def test_the_sealed_part_has_no_labels_to_reach() -> None:
    _, test = load("digits")
    assert not any(isinstance(value, Dataset) for value in vars(test).values())
    assert not any(hasattr(test, name) for name in ("labels", "images", "dataset"))
    assert "labels" not in repr(test)
    images = np.concatenate(list(test.images_without_labels(chunk=100)))
    assert images.shape == (359, 8, 8, 1)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("digitz", "Did you mean 'digits'?"),
        ("no/such/folder", "a path that exists"),
        ("", "a path that exists"),
        ("digits(", "a path that exists"),
        ("digits(x=1)", "has no option 'x'"),
        ("cifar100(label='fine')", "Did you mean 'labels'?"),
        ("folder()", "needs a path"),
        ("folder('/no/such')", "must be a folder that exists"),
        ("npz(3)", "npz: path must be a text in quotes"),
        ("stl10(classes='airplane, birb')", "Did you mean 'bird'?"),
        ("stl10(classes=3)", "must be a text"),
        ("a\x1b[2J", "\\x1b[2J"),
    ],
)
def test_other_texts_are_refused(text: str, part: str) -> None:
    with refused(part):
        load(text)


def test_a_path_becomes_a_component_with_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folder(tmp_path / "pets", {"cat": 5, "dog": 5})
    monkeypatch.chdir(tmp_path)
    assert str(component("pets")) == str(component("folder('pets')")) == f"folder(path={str(tmp_path / 'pets')!r})"
    (tmp_path / "digits").mkdir()
    assert str(component("digits")) == "digits"
    (tmp_path / "notes.txt").write_text("")
    with refused("must be a folder or a file with one of the endings"):
        component("notes.txt")


def test_data_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("argument", "variable", "cache")):
        folder = cache_folder() / "data" if name == "cache" else tmp_path / name
        cifar_pickles(folder / "cifar100", 200 + 100 * number, 100)
    monkeypatch.setenv("POCKETLENS_DATA", str(tmp_path / "variable"))
    assert len(load("cifar100", tmp_path / "argument")[0]) == 200
    assert len(load("cifar100")[0]) == 300
    assert len(load("cifar100", tmp_path)[0]) == 300
    monkeypatch.delenv("POCKETLENS_DATA")
    assert len(load("cifar100")[0]) == 400
    with refused("--data must be a folder that exists"):
        load("cifar100", tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("cifar100", "cifar-100-python.tar.gz"),
        ("fashion_mnist", "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images"),
        ("mnist", "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images"),
        ("cifar10", "cifar-10-python.tar.gz"),
        ("eurosat", "EuroSAT.zip"),
        ("stl10", "stl10_binary.tar.gz"),
    ],
)
def test_without_a_network_the_message_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, file: str
) -> None:
    nowhere = (Remote("x.gz", "md5:0", ("http://127.0.0.1:9/x",)),)
    module = __import__(f"pocketlens.datasets.{text}", fromlist=["REMOTES"])
    remotes = tuple(Remote(remote.name, remote.hash, nowhere[0].addresses) for remote in module.REMOTES)
    monkeypatch.setattr(module, "REMOTES", remotes)
    monkeypatch.setenv("POCKETLENS_DATA", str(tmp_path))
    with refused(
        f"{text} must be on this machine and could not be downloaded (127.0.0.1:9: no connection): put {file}",
        f"into {tmp_path / text}, or set POCKETLENS_DATA to the folder that holds {text}/.",
    ):
        load(text)


def fashion(folder: Path, packed: bool, n_train: int = 40, n_test: int = 20) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = random_images(n_train + n_test, (28, 28)), np.arange(n_train + n_test, dtype=np.uint8) % 10
    for part, rows in (("train", slice(0, n_train)), ("t10k", slice(n_train, None))):
        for name, array in ((f"{part}-images-idx3-ubyte", images[rows]), (f"{part}-labels-idx1-ubyte", labels[rows])):
            data = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(data) if packed else data)
    return images, labels


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["fashion_mnist", "FashionMNIST/raw", "fashion_mnist/FashionMNIST/raw"])
def test_fashion_mnist_in_every_layout(tmp_path: Path, place: str, packed: bool) -> None:
    images, labels = fashion(tmp_path / place, packed)
    dataset, test = load("fashion_mnist", tmp_path)
    assert np.array_equal(dataset.images[:, :, :, 0], images[:40])
    assert np.array_equal(dataset.labels, labels[:40])
    assert dataset.classes[9] == "Ankle boot"
    assert len(test) == 20


def test_fashion_mnist_with_fewer_labels_than_images_is_refused(tmp_path: Path) -> None:
    fashion(tmp_path / "fashion_mnist", False)
    path = tmp_path / "fashion_mnist" / "train-labels-idx1-ubyte"
    path.write_bytes(bytes((0, 0, 8, 1)) + struct.pack(">I", 39) + bytes(39))
    with refused("must hold 40 labels", "it holds 39"):
        load("fashion_mnist", tmp_path)


def test_stl10_is_read_column_by_column_and_keeps_named_classes(tmp_path: Path) -> None:
    folder = tmp_path / "stl10" / "stl10_binary"
    folder.mkdir(parents=True)
    images, labels = random_images(20, (96, 96, 3)), np.arange(20) % 10
    for part, rows in (("train", slice(0, 10)), ("test", slice(10, 20))):
        (folder / f"{part}_X.bin").write_bytes(images[rows].transpose(0, 3, 2, 1).tobytes())
        (folder / f"{part}_y.bin").write_bytes((labels[rows] + 1).astype(np.uint8).tobytes())
    dataset, test = load("stl10", tmp_path)
    assert np.array_equal(dataset.images, images[:10])
    assert np.array_equal(dataset.labels, labels[:10])
    assert dataset.classes == STL10_CLASSES
    named, named_test = load("stl10(classes='ship, bird')", tmp_path)
    assert named.classes == ("bird", "ship")
    assert np.array_equal(named.images, images[[1, 8]])
    assert named.labels.tolist() == [0, 1]
    assert (len(test), len(named_test)) == (10, 2)


LIMITED = """
import resource, sys
import numpy as np
from pocketlens.datasets import load
import PIL.Image, concurrent.futures
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]) << 20,) * 2)
dataset, test = load(sys.argv[1])
assert isinstance(dataset.images, np.memmap)
total = 0
for start in range(0, len(dataset), 512):
    total += int(dataset.images[start : start + 512].sum(dtype=np.int64))
print(dataset.images.nbytes >> 20, len(dataset), len(test), total)
"""


@pytest.mark.slow
def test_data_larger_than_memory_is_loaded(tmp_path: Path) -> None:
    """300 MB of pixels pass through a process that may have 180 MB of memory of its own, most of it taken already."""
    n, side = 400, 500
    pixels = np.zeros((side, side, 3), np.uint8)
    for i in range(n):
        folder = tmp_path / f"class{i % 2}"
        folder.mkdir(exist_ok=True)
        pixels[0, 0] = (i % 256, i // 256, 7)
        (folder / f"{i}.png").write_bytes(encoded(pixels, compress_level=1))
    command = [sys.executable, "-W", "error", "-c", LIMITED, f"folder('{tmp_path}', size=500)", "180"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr
    megabytes, n_development, n_test, total = map(int, result.stdout.split())
    assert megabytes > 220
    assert (n_development, n_test) == (320, 80)
    assert total > 320 * 7


def test_the_memory_limit_is_a_limit(tmp_path: Path) -> None:
    """A test that cannot fail is a defect: the same limit stops a process that holds all pixels."""
    program = (
        "import resource, numpy as np; resource.setrlimit(resource.RLIMIT_DATA, (180 << 20,) * 2); "
        "np.ones(240 << 20, np.uint8)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "MemoryError" in result.stderr


@pytest.mark.slow
def test_the_real_fashion_mnist(data_folder: Path) -> None:
    dataset, test = load("fashion_mnist", data_folder)
    header = bytes((0, 0, 8, 3)) + struct.pack(">III", len(dataset), 28, 28)
    assert hashlib.md5(header + dataset.images.tobytes()).hexdigest() == "f4a8712d7a061bf5bd6d2ca38dc4d50a"
    images = b"".join(chunk.tobytes() for chunk in test.images_without_labels())
    header = bytes((0, 0, 8, 3)) + struct.pack(">III", len(test), 28, 28)
    assert hashlib.md5(header + images).hexdigest() == "8181f5470baa50b63fa0f6fddb340f0a"
    assert np.bincount(dataset.labels).tolist() == [6000] * 10


@pytest.mark.slow
def test_the_real_stl10_with_five_classes(data_folder: Path) -> None:
    dataset, test = load("stl10", data_folder)
    assert dataset.shape == (96, 96, 3)
    assert (len(dataset), len(test)) == (2500, 4000)
    assert dataset.classes == ("airplane", "bird", "car", "horse", "ship")
    assert np.bincount(dataset.labels).tolist() == [500] * 5
