"""Duplicates: how many planted ones are found, by kind; and seconds, memory and counts on a real data set.

    python benchmarks/duplicates.py cifar100 --planted 500

Development images are changed and added to the data as further rows: copied, shifted (up to an eighth of the side,
edges repeated), recoloured (each channel with a gain, an offset and a gamma of its own), rescaled (by 0.8 to 1.25, cut
or padded to the old size), mirrored, and all of it at once. A planted image counts as found if it is listed with its
original as an exact or near duplicate.
"""

import argparse
import resource
import time

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.audit.near_duplicates import find_duplicates
from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.duplicates import DEVELOPMENT, Duplicates
from pocketlens.datasets import load
from pocketlens.events import finish

KINDS = ("copied", "shifted", "recoloured", "rescaled", "mirrored", "all at once")
Pixels = NDArray[np.uint8]  # (H, W, C)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="cifar100")
    parser.add_argument("--planted", type=int, default=500)
    parser.add_argument("--rows", type=int, default=None, help="use only this many development rows")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dataset, sealed = load(args.dataset)
    if args.rows is not None:
        dataset = dataset.take(np.arange(min(args.rows, len(dataset))))
    original, kinds, planted = plant(dataset, args.planted, args.seed)
    images = np.concatenate([dataset.images, planted])
    labels = np.concatenate([dataset.labels, dataset.labels[original]])
    more = Dataset(dataset.text, images, labels, dataset.classes, hash_images(images))
    wall, user = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    found = finish(find_duplicates(more, sealed, keep=False))
    wall, user = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF).ru_utime - user
    print("\n".join(found.lines()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{wall:.0f} s, {user:.0f} CPU seconds, at most {peak:.2f} GiB of memory, with the planted ones")
    n, linked = len(dataset), links(found)
    hits = np.array([(row, n + place) in linked for place, row in enumerate(original)])
    for kind in KINDS:
        print(f"  {kind:<12} {hits[kinds == kind].sum():>4} of {(kinds == kind).sum():>4} found")


def plant(dataset: Dataset, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.str_], Pixels]:
    """Rows, kinds and changed images of `count` development images."""
    random = np.random.default_rng(seed)
    rows = random.choice(len(dataset), count, replace=False)
    kinds = np.array(KINDS)[np.arange(count) % len(KINDS)]
    changed = [change(dataset.images[row], kind, random) for row, kind in zip(rows, kinds, strict=True)]
    return rows, kinds, np.stack(changed)


def change(image: Pixels, kind: str, random: np.random.Generator) -> Pixels:
    """One image, changed according to its kind."""
    if kind == "mirrored":
        return image[:, ::-1]
    if kind in ("rescaled", "all at once"):
        image = rescale(image, np.exp(random.uniform(np.log(0.8), np.log(1.25))))
    if kind in ("shifted", "all at once"):
        most = max(1, image.shape[0] // 8)
        down, right = random.integers(-most, most + 1, 2)
        height, width = image.shape[:2]
        padded = np.pad(image, ((most, most), (most, most), (0, 0)), mode="edge")
        image = padded[most + down : most + down + height, most + right : most + right + width]
    if kind in ("recoloured", "all at once"):
        share = image / 255.0
        gain, offset, gamma = (random.uniform(low, high, image.shape[2]) for low, high in ((0.7, 1.3), (-0.12, 0.12),
                                                                                          (0.7, 1.4)))  # fmt: skip
        image = np.clip(255 * (share**gamma * gain + offset), 0, 255).astype(np.uint8)
    return image


def rescale(image: Pixels, factor: float) -> Pixels:
    """Scaled about the centre, then cut or edge-padded to the old size."""
    height, width, channels = image.shape
    size = (round(width * factor), round(height * factor))
    squeezed = image[:, :, 0] if channels == 1 else image
    scaled = np.asarray(Image.fromarray(squeezed).resize(size, Image.Resampling.BICUBIC)).reshape(*size[::-1], channels)
    extra_y, extra_x = height - scaled.shape[0], width - scaled.shape[1]
    if extra_y >= 0 and extra_x >= 0:
        before_y, before_x = extra_y // 2, extra_x // 2
        rims = ((before_y, extra_y - before_y), (before_x, extra_x - before_x), (0, 0))
        return np.pad(scaled, rims, mode="edge")
    top, left = -extra_y // 2, -extra_x // 2
    return scaled[top : top + height, left : left + width]


def links(found: Duplicates) -> set[tuple[int, int]]:
    """The exact and near pairs of development rows."""
    both = (found.part_a == DEVELOPMENT) & (found.part_b == DEVELOPMENT) & (found.judgement != "similar")
    return set(zip(found.row_a[both].tolist(), found.row_b[both].tolist(), strict=True))


if __name__ == "__main__":
    main()
