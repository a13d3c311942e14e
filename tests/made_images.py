"""Small images, folders and files for the tests of data, and the check that an error is one clear line."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pocketlens.data.dataset import Dataset, SealedTest, hash_images, seal
from pocketlens.datasets.cifar100 import SUPERCLASS_OF
from pocketlens.errors import PocketlensError


@contextmanager
def refused(*parts: str) -> Iterator[None]:
    """The block must end in a PocketlensError of one printable line that holds all these parts."""
    with pytest.raises(PocketlensError) as caught:
        yield
    message = str(caught.value)
    assert message.replace("\u200d", "").isprintable(), message  # the joiner of emoji is harmless
    for part in parts:
        assert part in message, message


def random_images(n: int, shape: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def parts(development: np.ndarray, test: np.ndarray) -> tuple[Dataset, SealedTest]:
    """A data set of these images, with two classes by turns."""
    made = [
        Dataset("made", images, np.arange(len(images), dtype=np.int64) % 2, ("a", "b"), hash_images(images))
        for images in (development, test)
    ]
    return made[0], seal(made[1])


def encoded(pixels: NDArray[Any], kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """The bytes of an image file."""
    squeezed = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    image = Image.fromarray(squeezed)
    buffer = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(buffer, kind, **options)
    return buffer.getvalue()


def class_folder(root: Path, counts: dict[str, int], shape: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> Path:
    """A folder of class folders with random PNGs."""
    for number, (name, count) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(random_images(count, shape, seed * 1000 + number)):
            (folder / f"{i:03}.png").write_bytes(encoded(image))
    return root


def cifar_rows(n: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """(n, 32, 32, 3) images with fine labels 0, 1, 2, … and the coarse labels that belong to them."""
    fine = np.arange(n, dtype=np.int64) % 100
    return random_images(n, (32, 32, 3), seed), fine, np.array(SUPERCLASS_OF, np.int64)[fine]


def planes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, 3072): the order in which CIFAR's files have the pixels."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def cifar_pickles(folder: Path, n_train: int = 400, n_test: int = 200) -> Path:
    """cifar-100-python/ as Python 2 wrote it: keys are bytes."""
    inside = folder / "cifar-100-python"
    inside.mkdir(parents=True)
    for name, n, seed in (("train", n_train, 1), ("test", n_test, 2)):
        images, fine, coarse = cifar_rows(n, seed)
        names = [f"{name}_{row}.png".encode() for row in range(n)]
        content = {b"data": planes(images), b"fine_labels": fine.tolist(), b"coarse_labels": coarse.tolist()}
        (inside / name).write_bytes(pickle.dumps({**content, b"filenames": names}, protocol=2))
    return folder
