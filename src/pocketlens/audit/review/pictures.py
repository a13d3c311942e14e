"""The pictures of a review: an image as it is trained on, or from its file where that is larger and still the same."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.components import parse_one
from pocketlens.data.dataset import Dataset
from pocketlens.data.identity import hash_pixels
from pocketlens.data.images import BadImage, decode_image, map_images

LARGEST = 900  # px of the longer side


def picture_of(dataset: Dataset, row: int) -> bytes:
    """A development row as a PNG; a photo of a folder in its own size, up to 900 px."""
    return as_png(_original(dataset, row))


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 1 or 3) uint8 as a PNG, made smaller where its longer side is above 900 px."""
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _original(dataset: Dataset, row: int) -> NDArray[np.uint8]:
    """The pixels of the file, if it is there and its hash is that of the row; else those of the data set."""
    there, file = np.asarray(dataset.images[row]), _file(dataset, row)
    if file is None:
        return there
    (found,) = map_images(decode_image, [file])
    if isinstance(found, BadImage) or found.pixels.dtype != np.uint8:
        return there
    hashed = found.file_hash or hash_pixels(found.pixels)
    return found.pixels.astype(np.uint8) if hashed == dataset.hashes[row].tobytes() else there


def _file(dataset: Dataset, row: int) -> Path | None:
    """The file of a row, where the images were made smaller and lie in a folder."""
    if not dataset.is_resized or dataset.files is None:
        return None
    root = dict(parse_one(dataset.text, "datasets").options).get("path")
    path = Path(str(root)) / dataset.files[row]
    return path if root and path.is_file() else None
