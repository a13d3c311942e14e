"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28x28, in 10 classes; IDX files, plain or gzipped.

Source: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747, 2017; https://github.com/zalandoresearch/fashion-mnist (MIT).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pocketlens.data.dataset import Images
from pocketlens.data.sources.cache import Entry, Key, Table, find, store
from pocketlens.data.sources.download import Remote
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.idx import Idx, open_idx, read_chunks, read_labels
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import parts
from pocketlens.datasets._official import fetch
from pocketlens.errors import PocketlensError

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_FILES = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
REMOTES = tuple(
    Remote(
        f"{name}.gz",
        f"md5:{md5}",
        (
            f"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/{name}.gz",
            f"https://storage.googleapis.com/tensorflow/tf-keras-datasets/{name}.gz",
        ),
    )
    for name, md5 in _FILES.items()
)


def fashion_mnist(folders: Folders) -> Parts:
    """Fashion-MNIST with its official test part; rows keep the order of the source.

    Raises:
        PocketlensError: the files are absent or damaged.
    """
    files = _find(folders)
    if files is None:
        fetch("fashion_mnist", REMOTES, folders)
        files = _find(folders)
        assert files is not None
    key = Key(files, "fashion_mnist")
    return parts(find(key) or _read(files, key), "fashion_mnist")


def _find(folders: Folders) -> tuple[Path, ...] | None:
    for folder in folders.candidates("fashion_mnist"):
        places = [folder / "FashionMNIST" / "raw", folder / "FashionMNIST"]
        if "fashion" in folder.name.lower():  # elsewhere, files of these names may be MNIST's
            places += [folder / "raw", folder]
        for place in places:
            files = [place / name if (place / name).is_file() else place / f"{name}.gz" for name in _FILES]
            if all(file.is_file() for file in files):
                return tuple(files)
    return None


def _read(files: tuple[Path, ...], key: Key) -> Entry:
    train_images, train_labels, test_images, test_labels = files
    images = [open_idx(path, 3) for path in (train_images, test_images)]
    for idx in images:
        if idx.shape[1:] != (28, 28):
            raise PocketlensError(f"{idx.path} must hold images of 28x28, it holds {idx.shape[2]}x{idx.shape[1]}.")
    counts = [idx.shape[0] for idx in images]
    labels = [
        read_labels(path, count, len(CLASSES)) for path, count in zip((train_labels, test_labels), counts, strict=True)
    ]
    held = np.arange(sum(counts)) >= counts[0]
    official = counts == [60_000, 10_000]
    notes = () if official else (f"fashion_mnist has {counts[0]} + {counts[1]} images here, officially 60000 + 10000",)
    return store(key, _chunks(images), Table({"labels": np.concatenate(labels)}, CLASSES, held, None, notes))


def _chunks(images: list[Idx]) -> Iterator[Images]:
    for idx in images:
        for chunk in read_chunks(idx, 4096):
            yield chunk[:, :, :, None]  # (n, 28, 28, 1)
