"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28x28, in 10 classes; IDX files, plain or gzipped.

Source: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747, 2017; https://github.com/zalandoresearch/fashion-mnist (MIT).
"""

from __future__ import annotations

from pathlib import Path

from pocketlens.data.sources.cache import Key, find
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import parts
from pocketlens.datasets._idx_set import find_idx_set, read_idx_set, remotes_of
from pocketlens.datasets._official import find_or_fetch

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_MD5 = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
REMOTES = remotes_of(
    _MD5,
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
    ),
)


def fashion_mnist(folders: Folders) -> Parts:
    """Fashion-MNIST with its official test part; rows keep the order of the source.

    Raises:
        PocketlensError: the files are absent or damaged.
    """
    files = find_or_fetch("fashion_mnist", REMOTES, folders, _find)
    key = Key(files, "fashion_mnist")
    return parts(find(key) or read_idx_set(files, key, "fashion_mnist", CLASSES), "fashion_mnist")


def _find(folders: Folders) -> tuple[Path, ...] | None:
    return find_idx_set(folders, "fashion_mnist", "FashionMNIST", lambda own: "fashion" in own)
