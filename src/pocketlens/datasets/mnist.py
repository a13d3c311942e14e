"""MNIST: 60,000 + 10,000 grey images of handwritten digits, 28x28, in 10 classes; IDX files, plain or gzipped.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition,
Proceedings of the IEEE 86(11), 1998; http://yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

from pathlib import Path

from pocketlens.data.sources.cache import Key, find
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import parts
from pocketlens.datasets._idx_set import find_idx_set, read_idx_set, remotes_of
from pocketlens.datasets._official import find_or_fetch

CLASSES = tuple("0123456789")
_MD5 = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
REMOTES = remotes_of(
    _MD5,
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
)


def mnist(folders: Folders) -> Parts:
    """MNIST with its official test part; rows keep the order of the source.

    Raises:
        PocketlensError: the files are absent or damaged.
    """
    files = find_or_fetch("mnist", REMOTES, folders, _find)
    key = Key(files, "mnist")
    return parts(find(key) or read_idx_set(files, key, "mnist", CLASSES), "mnist")


def _find(folders: Folders) -> tuple[Path, ...] | None:
    return find_idx_set(folders, "mnist", "MNIST", lambda own: "mnist" in own and "fashion" not in own)
