"""Features of a frozen body, computed once: kept in the cache by everything that decides them, row by row.

An entry is a folder with the features of all development rows of a data set, (N, D), and a file with a byte for each
row that says whether its features are there. So a killed computation goes on where it was, and another split of the
same data finds what it needs. Rows are independent of each other to the bit, so the order does not matter. Test rows
are never kept: `open_test` computes theirs, and the audit those of the images without labels.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work
from pocketlens.files import cache_folder, write_json
from pocketlens.recipe import Experiment
from pocketlens.training.classifier import Classifier, new_classifier, to_float
from pocketlens.training.device_images import DeviceImages
from pocketlens.training.fused import fused, run_in_batches

_VERSION = 1  # of the engine and of the files: raise it, and everything is computed again
CHUNK = 64  # rows that are computed, and then written, at a time
PRECISIONS = ("fp32", "bf16")
Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class FeatureStore:
    """Where the features of a body on a data set are kept.

    Attributes:
        folder: in the cache.
        n, width: of rows, and of numbers for each.
        precision: fp32 or bf16, in which they are computed and kept.
    """

    folder: Path
    n: int
    width: int
    precision: str

    def take(self, rows: Rows) -> Floats:
        """(n, D) float32: the features of some rows, which have been computed."""
        kept = np.memmap(self.folder / "features.bin", self._dtype, "r", shape=(self.n, self.width))
        values = np.ascontiguousarray(kept[rows])
        return values if self.precision == "fp32" else _from_bf16(values)

    def absent(self, rows: Rows) -> Rows:
        """Those of some rows whose features have not been computed yet, ascending."""
        there = np.zeros(self.n, np.uint8)
        with suppress(OSError):
            written = np.fromfile(self.folder / "there.bin", np.uint8)
            there[: len(written)] = written[: self.n]
        wanted = np.unique(rows)
        missing: Rows = wanted[there[wanted] != 1]
        return missing

    def put(self, rows: Rows, values: Floats) -> None:
        """Writes the features (n, D) of some rows, and only then that they are there.

        Raises:
            PocketlensError: the disk is full or the cache cannot be written.
        """
        kept = values if self.precision == "fp32" else _to_bf16(values)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_rows(self.folder / "features.bin", self.n, rows, kept)
            _write_rows(self.folder / "there.bin", self.n, rows, np.ones((len(rows), 1), np.uint8))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EPERM):
                raise
            raise PocketlensError(_no_room(self.n_bytes, error.strerror or "")) from None

    @property
    def n_bytes(self) -> int:
        """The size of the entry when all rows are there."""
        return self.n * (self.width * self._dtype().itemsize + 1)

    @property
    def _dtype(self) -> type[np.float32] | type[np.uint16]:
        return np.float32 if self.precision == "fp32" else np.uint16


def compute_features(
    classifier: Classifier, dataset: Dataset, rows: Rows, *, device: str = "cpu", precision: str = "fp32"
) -> Work[FeatureStore]:
    """Computes the features of some development rows where they are not in the cache yet; gives the store with them.

    Features are the input of the classifier's head. Memory is bounded by CHUNK images.

    Args:
        classifier: its body is frozen, and its `prepare` and normalisation are used.
        dataset: development rows.
        rows: which of them.
        device: where to compute.
        precision: fp32 or bf16.

    Raises:
        PocketlensError: the cache has no room for the features, or cannot be written.
    """
    images = DeviceImages(dataset.images, classifier.prepare, device, limit=0)
    body = _Body(classifier, device, precision)
    store = _store(classifier, dataset, body)
    missing = store.absent(rows)
    if len(missing):
        _check_room(store)
        with suppress(OSError):
            store.folder.mkdir(parents=True, exist_ok=True)
            write_json(store.folder / "meta.json", {"model": classifier.facts.model, "data": dataset.text})
    done = len(np.unique(rows)) - len(missing)
    for start in range(0, len(missing), CHUNK):
        chunk = missing[start : start + CHUNK]
        store.put(chunk, body(to_float(images.take(torch.from_numpy(chunk)))))
        yield Step("features of the body", done + start + len(chunk), done + len(missing))
    return store


def are_cached(classifier: Classifier, dataset: Dataset, *, device: str = "cpu", precision: str = "fp32") -> bool:
    """Whether the features of all development rows are there; the arguments are those of `compute_features`."""
    store = _store(classifier, dataset, _Body(classifier, device, precision))
    return not len(store.absent(np.arange(len(dataset), dtype=np.int64)))


def cached_features(
    classifier: Classifier, dataset: Dataset, rows: Rows, *, device: str = "cpu", precision: str = "fp32"
) -> Floats | None:
    """(n, D) float32: the features of some development rows; None where they are not all in the cache.

    The arguments are those of `compute_features`.
    """
    store = _store(classifier, dataset, _Body(classifier, device, precision))
    return None if len(store.absent(rows)) else store.take(rows)


def compute_test_features(
    classifier: Classifier, sealed: SealedTest, *, device: str = "cpu", precision: str = "fp32"
) -> Work[Floats]:
    """(M, D) float32: the features of test images, which are read without their labels and never kept.

    Memory is bounded by CHUNK images and the result. The arguments are those of `compute_features`.
    """
    body = _Body(classifier, device, precision)
    found = np.empty((len(sealed), body.width()), np.float32)
    done = 0
    for chunk in sealed.images_without_labels(CHUNK):
        images = DeviceImages(chunk, classifier.prepare, device, limit=0)
        found[done : done + len(chunk)] = body(to_float(images.take(torch.arange(len(chunk)))))
        done += len(chunk)
        yield Step("features of the test images", done, len(sealed))
    return found


def new_body(experiment: Experiment, dataset: Dataset, rows: Rows) -> Classifier:
    """The classifier of an experiment before its head is fitted; `rows` are those that train. Reads images in batches.

    Raises:
        PocketlensError: the model cannot take the images, or its pretrained weights cannot be read.
    """
    images = DeviceImages(dataset.images, experiment.recipe.prepare, "cpu", limit=0)
    return new_classifier(experiment, dataset, images, rows).eval()


def prepared_shape(dataset: Dataset, prepare: str) -> tuple[int, int, int]:
    """(height, width, channels) of the images after `prepare`."""
    return DeviceImages(dataset.images[:1], prepare, "cpu", limit=0).shape


def _store(classifier: Classifier, dataset: Dataset, body: _Body) -> FeatureStore:
    key = _key(classifier, dataset, body.device, body.precision)
    return FeatureStore(cache_folder() / "features" / key, len(dataset), body.width(), body.precision)


class _Body:
    """A classifier up to its head: images (B, C, H, W) in 0..1 to features (B, D) float32."""

    def __init__(self, classifier: Classifier, device: str, precision: str) -> None:
        self.classifier, self.device, self.precision = classifier, device, precision
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        net = _without_head(classifier.net)
        on_cpu = device.startswith("cpu")
        self.net = (fused(net, classifier.shape) if on_cpu else net.to(device)).to(self.dtype)
        self.forward: Callable[[Tensor], Tensor] = (
            (lambda images: run_in_batches(self.net, images)) if on_cpu else self.net
        )

    def width(self) -> int:
        """D."""
        height, width, channels = self.classifier.shape
        blank = torch.zeros(1, channels, height, width, device=self.device, dtype=self.dtype)
        with torch.inference_mode():
            return int(self.net(blank).flatten(1).shape[1])

    def __call__(self, images: Tensor) -> Floats:
        mean, std = (value.to(self.device) for value in (self.classifier.mean, self.classifier.std))
        with torch.inference_mode():
            features = self.forward(((images - mean) / std).to(self.dtype))
        values: Floats = features.flatten(1).float().cpu().numpy()
        return values


def _without_head(net: nn.Module) -> nn.Module:
    """A copy of the network whose head passes its input on."""
    import copy

    body = copy.deepcopy(net).cpu().eval()
    body.head = nn.Identity()
    return body


def _key(classifier: Classifier, dataset: Dataset, device: str, precision: str) -> str:
    """A hash of the images, the body with its normalisation and preparation, and the engine."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(classifier.state_dict().items()):
        if not name.startswith("net.head."):
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    engine = (_VERSION, torch.__version__, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), device)
    facts = classifier.facts
    digest.update(repr((facts.model, facts.prepare, facts.shape, dataset.shape, precision, engine)).encode())
    digest.update(dataset.hashes.tobytes())
    for row in np.linspace(0, len(dataset) - 1, min(len(dataset), 256)).astype(np.int64):
        digest.update(np.ascontiguousarray(dataset.images[row]).tobytes())  # hashes may be those of the source's pixels
    return digest.hexdigest()


def _check_room(store: FeatureStore) -> None:
    folder = store.folder
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < store.n_bytes + 10_000_000:
        raise PocketlensError(_no_room(store.n_bytes, f"{free / 1e6:.0f} MB are free"))


def _no_room(n_bytes: int, why: str) -> str:
    return (
        f"the cache folder {cache_folder()} must be writable and have room for the features, {n_bytes / 1e6:.0f} MB "
        f"({why}): free some space, or set POCKETLENS_HOME to another folder."
    )


def _write_rows(path: Path, n: int, rows: Rows, values: NDArray[np.generic]) -> None:
    """Writes some of a file's `n` lines of equal length into their places, and waits until they are on the disk."""
    line = values[0].nbytes
    with open(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b") as file:
        file.truncate(n * line)  # what is not written yet takes no room
        for row, value in zip(rows.tolist(), values, strict=True):
            file.seek(row * line)
            file.write(value.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _to_bf16(values: Floats) -> NDArray[np.uint16]:
    halves: NDArray[np.uint16] = torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
    return halves


def _from_bf16(values: NDArray[np.uint16]) -> Floats:
    floats: Floats = torch.from_numpy(values).view(torch.bfloat16).float().numpy()
    return floats
