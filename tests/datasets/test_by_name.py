"""mnist, cifar10, eurosat and medmnist: found in every layout that is usual, or downloaded with their hash."""

from __future__ import annotations

import hashlib
import http.server
import pickle
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_images import class_folder, encoded, planes, random_images, refused
from test_datasets import fashion

from pocketlens.data.sources.download import Remote
from pocketlens.datasets import cifar10, eurosat, load, medmnist, mnist
from pocketlens.files import cache_folder


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files a server on this machine gives; its address stands in the file `address`."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    (folder / "address").write_text(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder
    server.shutdown()
    server.server_close()


def remote(served: Path, name: str, hash_of: str | None = None) -> Remote:
    """A file of the server, with its hash or that of another one."""
    digest = hashlib.md5((served / (hash_of or name)).read_bytes(), usedforsecurity=False).hexdigest()
    return Remote(name, f"md5:{digest}", (f"{(served / 'address').read_text()}/{name}",))


# ---- mnist


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["mnist", "MNIST/raw", "mnist/MNIST/raw"])
def test_mnist_in_every_layout(tmp_path: Path, place: str, packed: bool) -> None:
    images, labels = fashion(tmp_path / place, packed)
    dataset, test = load("mnist", tmp_path)
    assert np.array_equal(dataset.images[:, :, :, 0], images[:40])
    assert np.array_equal(dataset.labels, labels[:40])
    assert (dataset.classes, len(test)) == (tuple("0123456789"), 20)
    assert "mnist has 40 + 20 images here, officially 60000 + 10000" in dataset.notes


def test_mnist_under_the_names_with_a_dot(tmp_path: Path) -> None:
    fashion(tmp_path / "mnist", False)
    for path in (tmp_path / "mnist").iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(load("mnist", tmp_path)[0]) == 40


def test_mnist_does_not_take_the_files_of_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "REMOTES", (Remote("x.gz", "md5:0", ("http://127.0.0.1:9/x",)),))
    monkeypatch.delenv("POCKETLENS_DATA", raising=False)
    fashion(tmp_path / "FashionMNIST" / "raw", False)
    fashion(tmp_path / "fashion_mnist", False)
    for folder in (tmp_path, tmp_path / "fashion_mnist"):
        with refused("mnist must be on this machine", f"into {folder / 'mnist'}"):
            load("mnist", folder)


def test_mnist_is_downloaded_with_its_hash(tmp_path: Path, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POCKETLENS_DATA", raising=False)
    images, _ = fashion(served, True)
    names = [each.name for each in mnist.REMOTES]
    monkeypatch.setattr(mnist, "REMOTES", tuple(remote(served, name) for name in names))
    assert np.array_equal(load("mnist")[0].images[..., 0], images[:40])
    assert {path.name for path in (cache_folder() / "data" / "mnist").iterdir()} == set(names)
    shutil.rmtree(cache_folder())
    monkeypatch.setattr(mnist, "REMOTES", tuple(remote(served, name, names[0]) for name in names))
    with refused("the downloaded file has the wrong hash", "train-labels-idx1-ubyte.gz"):
        load("mnist")


# ---- cifar10


def made_cifar10(folder: Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Ten images in each of the six batches, in one of the formats."""
    images, labels = random_images(60, (32, 32, 3)), np.arange(60) * 7 % 10
    place = folder / "cifar10"
    names = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
    if kind == "parquet":
        place.mkdir(parents=True)
        for name, rows in (("train", slice(0, 50)), ("test", slice(50, 60))):
            cells = [{"bytes": encoded(image), "path": f"{row}.png"} for row, image in enumerate(images[rows])]
            pq.write_table(pa.table({"img": cells, "label": labels[rows]}), place / f"{name}-00000-of-00001.parquet")
        return images, labels
    inside = place / ("cifar-10-batches-py" if kind.startswith("python") else "cifar-10-batches-bin")
    inside.mkdir(parents=True)
    for number, name in enumerate(names):
        rows = slice(10 * number, 10 * number + 10)
        if kind.startswith("python"):
            values = {b"data": planes(images[rows]), b"labels": labels[rows].tolist(), b"batch_label": name.encode()}
            values[b"filenames"] = [f"{row}.png".encode() for row in range(10)]
            (inside / name).write_bytes(pickle.dumps(values, protocol=2))
        else:
            content = np.concatenate([labels[rows, None], planes(images[rows])], 1).astype(np.uint8)
            (inside / f"{name}.bin").write_bytes(content.tobytes())
    if kind.endswith("archive"):
        name = "cifar-10-python.tar.gz" if kind.startswith("python") else "cifar-10-binary.tar.gz"
        with tarfile.open(place / name, "w:gz", compresslevel=1) as bundle:
            bundle.add(inside, inside.name)
        shutil.rmtree(inside)
    return images, labels


@pytest.mark.parametrize("kind", ["python", "binary", "parquet", "python archive", "binary archive"])
def test_cifar10_in_every_format(tmp_path: Path, kind: str) -> None:
    images, labels = made_cifar10(tmp_path, kind)
    dataset, test = load("cifar10", tmp_path)
    assert np.array_equal(dataset.images, images[:50])
    assert np.array_equal(dataset.labels, labels[:50])
    assert dataset.classes == cifar10.CLASSES
    assert np.array_equal(next(test.images_without_labels()), images[50:])
    assert "cifar10 has 50 + 10 images here, officially 50000 + 10000" in dataset.notes
    assert (dataset.files is not None) == (kind in ("python", "python archive", "parquet"))


def test_cifar10_does_not_take_parquet_of_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "REMOTES", (Remote("x.gz", "md5:0", ("http://127.0.0.1:9/x",)),))
    monkeypatch.delenv("POCKETLENS_DATA", raising=False)
    made_cifar10(tmp_path, "parquet")
    (tmp_path / "cifar10").rename(tmp_path / "cifar100")
    with refused("cifar10 must be on this machine"):
        load("cifar10", tmp_path / "cifar100")


def test_damaged_files_of_cifar10_are_refused(tmp_path: Path) -> None:
    made_cifar10(tmp_path, "binary")
    path = tmp_path / "cifar10" / "cifar-10-batches-bin" / "data_batch_3.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with refused("data_batch_3.bin must have a multiple of 3073 bytes, it has 30729"):
        load("cifar10", tmp_path)
    path.write_bytes(b"\x0b" + whole[1:])
    with refused("data_batch_3.bin", "11"):
        load("cifar10", tmp_path)


# ---- eurosat


@pytest.mark.parametrize("kind", ["2750", "EuroSAT/2750", "EuroSAT_RGB", "", "archive"])
def test_eurosat_in_every_layout(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "eurosat"
    inside = place / ("2750" if kind == "archive" else kind)
    class_folder(inside, dict.fromkeys(eurosat.CLASSES, 3), (64, 64, 3))
    (inside / "Forest" / "readme.txt").write_text("no picture")
    if kind == "archive":
        shutil.make_archive(str(place / "EuroSAT"), "zip", place, "2750")
        shutil.rmtree(inside)
    dataset, test = load("eurosat", tmp_path)
    assert dataset.shape == (64, 64, 3)
    assert dataset.classes == eurosat.CLASSES
    assert len(dataset) + len(test) == 30
    assert len(test) > 0, "held out by hash"
    assert dataset.files is not None
    assert [file.split("/")[0] for file in dataset.files] == [dataset.classes[label] for label in dataset.labels]
    assert "eurosat has 30 images here, officially 27000" in dataset.notes


def test_eurosat_of_another_size_or_class_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folder(tmp_path / "eurosat" / "2750", dict.fromkeys(eurosat.CLASSES, 1), (64, 64, 3))
    class_folder(tmp_path / "eurosat" / "2750", {"Forest": 1}, (60, 64, 3))
    with refused("1 of 10 images cannot be read", "it is 64x60, it must be 64x64"):
        load("eurosat", tmp_path)
    monkeypatch.setattr(eurosat, "REMOTES", (Remote("x.zip", "md5:0", ("http://127.0.0.1:9/x",)),))
    shutil.rmtree(tmp_path / "eurosat" / "2750" / "Forest")
    with refused("eurosat must be on this machine"):
        load("eurosat", tmp_path)
    shutil.make_archive(str(tmp_path / "eurosat" / "EuroSAT"), "zip", tmp_path / "eurosat", "2750")
    with refused("EuroSAT.zip must hold a folder for each of the classes"):
        load("eurosat", tmp_path)


# ---- medmnist


def made_medmnist(path: Path, n_classes: int, shape: tuple[int, ...] = (28, 28, 3)) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = random_images(5 * n_classes, shape)
    labels = (np.arange(len(images)) % n_classes).astype(np.uint8)[:, None]
    ends = (3 * n_classes, 4 * n_classes)
    arrays = {}
    for part, rows in zip(("train", "val", "test"), np.split(np.arange(len(images)), ends), strict=True):
        arrays |= {f"{part}_images": images[rows], f"{part}_labels": labels[rows]}
    np.savez(path, **arrays)
    return images


@pytest.mark.parametrize("place", ["medmnist/pathmnist.npz", "pathmnist.npz"])
def test_medmnist_has_its_names_and_its_test_part(tmp_path: Path, place: str) -> None:
    images = made_medmnist(tmp_path / place, 9)
    dataset, test = load("medmnist", tmp_path)
    assert np.array_equal(dataset.images, images[:36])
    assert dataset.classes[0] == "adipose"
    assert dataset.classes[8] == "colorectal adenocarcinoma epithelium"
    assert test.classes == dataset.classes
    assert len(test) == 9
    assert "pathmnist has 36 + 9 images here, officially 100000 + 7180" in dataset.notes
    assert dataset.text == "medmnist"


def test_medmnist_in_other_sizes_and_beside_its_own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", staticmethod(lambda: tmp_path))
    monkeypatch.delenv("POCKETLENS_DATA", raising=False)
    made_medmnist(tmp_path / ".medmnist" / "breastmnist_64.npz", 2, (64, 64))
    dataset, _ = load("medmnist(name='breastmnist', size=64)")
    assert (dataset.shape, dataset.classes) == ((64, 64, 1), ("malignant", "normal, benign"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("medmnist(name='pathmnst')", ("name of one of its sets", "Did you mean 'pathmnist'?")),
        ("medmnist(name='chestmnist')", ("chestmnist has several labels for each image",)),
        ("medmnist(name='x')", ("There are: bloodmnist, breastmnist",)),
        ("medmnist(name=3)", ("name",)),
        ("medmnist(size=32)", ("size of medmnist must be 28, 64, 128, 224, got 32",)),
        ("medmnist(size=True)", ("size",)),
    ],
)
def test_what_medmnist_does_not_have(text: str, parts: tuple[str, ...]) -> None:
    with refused(*parts):
        load(text)


def test_medmnist_with_a_label_too_many_is_refused(tmp_path: Path) -> None:
    made_medmnist(tmp_path / "medmnist" / "breastmnist.npz", 3, (28, 28))
    with refused("breastmnist.npz: the labels must be 0..1, there is '2'"):
        load("medmnist(name='breastmnist')", tmp_path)


def test_medmnist_is_downloaded_with_its_hash(tmp_path: Path, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POCKETLENS_DATA", raising=False)
    monkeypatch.setattr(Path, "home", staticmethod(lambda: tmp_path))
    official = medmnist.remote_of("bloodmnist", 128)
    assert official.addresses == ("https://zenodo.org/records/10519652/files/bloodmnist_128.npz?download=1",)
    assert official.hash == "md5:adace1e0ed228fccda1f39692059dd4c"
    made_medmnist(served / "bloodmnist.npz", 8)
    made = remote(served, "bloodmnist.npz")
    monkeypatch.setattr(medmnist, "remote_of", lambda name, size: made)
    assert load("medmnist(name='bloodmnist')")[0].classes[0] == "basophil"
    shutil.rmtree(cache_folder())
    wrong = replace(made, hash="md5:" + "0" * 32)
    monkeypatch.setattr(medmnist, "remote_of", lambda name, size: wrong)
    with refused("medmnist must be on this machine", "wrong hash", f"into {cache_folder() / 'data' / 'medmnist'}"):
        load("medmnist(name='bloodmnist')")


def test_every_remote_names_its_hash() -> None:
    for each in (*mnist.REMOTES, *cifar10.REMOTES, *eurosat.REMOTES):
        assert len(each.hash) == len("md5:") + 32
        assert all(address.startswith("https://") for address in each.addresses)
    hashes = {medmnist.remote_of(name, size).hash for name in medmnist._SETS for size in medmnist.SIZES}
    assert len(hashes) == 44
