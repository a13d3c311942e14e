"""What many images cost: seconds and the most anonymous memory of load, look, train's first step, test and page.

    python benchmarks/millions.py --images 60000 250000 1000000 --folder DIR
    python benchmarks/millions.py --files 60000 --folder DIR

The images are CIFAR-100's 50,000 development images, and after them blends of each with another image of its class,
mirrored by chance, shifted by up to 3 px and each channel with a gain of its own. One in a hundred is a changed copy of
an image before it, and look should find it. `--images` makes arrays (a folder of .npy files), `--files` a folder of PNG
files. Everything lies below `--folder` and is removed in the end: ten bytes for each byte of pixels at the most.
Anonymous memory is what cannot be read again from a file: of a process and its children together, every 0.2 seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

SOURCE = Path(__file__).resolve().parents[1] / "src"
BLOCK = 10_000  # images that are made at a time
COPIES = 100  # one in so many is a copy
LOAD = "import sys; from pocketlens.datasets import load; load(sys.argv[1])"
FIRST_STEP = """
import sys
from pocketlens.data.split import make_split
from pocketlens.datasets import load
from pocketlens.recipe import Experiment, read_recipe
from pocketlens.training.fit import fit
from pocketlens.training.state import State
dataset, _ = load(sys.argv[1])
state = State(Experiment(dataset.text, read_recipe("small")), dataset, make_split(dataset), "cpu")
next(fit(state))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="*", default=[], help="how many images in arrays")
    parser.add_argument("--files", type=int, nargs="*", default=[], help="how many images in files")
    parser.add_argument("--folder", type=Path, required=True, help="where everything lies meanwhile")
    parser.add_argument("--steps", default="load,again,look,first step,train,test,page", help="which of these")
    parser.add_argument("--skip", default="", help="checks that look skips")
    parser.add_argument("--data", type=Path, default=None, help="the folder that holds cifar100/")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for kind, counts in (("arrays", args.images), ("files", args.files)):
        for n in counts:
            with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
                planted = make(Path(temporary) / "images", n, kind, args.data)
                measure(Path(temporary), kind, n, args)
                print(json.dumps({"kind": kind, "images": n, **recall(Path(temporary), planted)}), flush=True)


def measure(folder: Path, kind: str, n: int, args: argparse.Namespace) -> None:
    """Prints a JSON line for each step."""
    path, runs = str(folder / "images"), ["--runs", str(folder / "runs")]
    ours = [sys.executable, "-m", "pocketlens"]
    skip = ["--skip", args.skip] if args.skip else []
    steps = {
        "load": [sys.executable, "-c", LOAD, path],
        "again": [sys.executable, "-c", LOAD, path],
        "look": [*ours, "look", path, "--out", str(folder / "look"), *skip],
        "first step": [sys.executable, "-c", FIRST_STEP, path],
        "train": [*ours, "train", path, "--recipe", "small", "--epochs", str(20_000 / n), *runs],
        "test": [*ours, "test", "last", *runs],
        "page": [*ours, "report", "last", *runs],
    }
    for name in (each.strip() for each in args.steps.split(",")):
        seconds, gigabytes, code = watch(steps[name], folder)
        found = {"kind": kind, "images": n, "step": name, "seconds": round(seconds, 1), "GB": round(gigabytes, 2)}
        print(json.dumps({**found, "exit": code}), flush=True)


def watch(command: list[str], folder: Path) -> tuple[float, float, int]:
    """Seconds, the most anonymous memory in GB, and the exit code of a command; its output goes to a log."""
    environment = {**os.environ, "POCKETLENS_HOME": str(folder / "home"), "PYTHONPATH": str(SOURCE)}
    began, most = time.perf_counter(), 0
    with open(folder.parent / "log.txt", "a", encoding="utf-8") as log:
        print(f"\n{' '.join(command[1:])[:200]}", file=log, flush=True)
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        while process.poll() is None:
            most = max(most, anonymous(process.pid))
            time.sleep(0.2)
    return time.perf_counter() - began, most / 1e9, process.returncode


def anonymous(pid: int) -> int:
    """Bytes of anonymous memory of a process and its children (Linux)."""
    total = 0
    try:
        for each in (one := psutil.Process(pid), *one.children(recursive=True)):
            status = Path(f"/proc/{each.pid}/status").read_text(encoding="ascii", errors="ignore")
            total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")) * 1024
    except (psutil.Error, OSError):
        pass  # it has just ended
    return total


def make(folder: Path, n: int, kind: str, data: Path | None) -> NDArray[np.int64]:
    """Makes the images, and gives the copies among them, (M, 2): the row of an image and of its changed copy."""
    from pocketlens.datasets import load

    dataset, _ = load("cifar100", data)
    base, labels = dataset.images, dataset.labels
    random = np.random.default_rng(0)
    order = np.argsort(labels, kind="stable")  # the images of a class stand together: a blend's partner is near by
    place = np.argsort(order)
    folder.mkdir(parents=True)
    rows = np.arange(n) % len(base)
    if kind == "arrays":
        images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (n, 32, 32, 3))
        np.save(folder / "labels.npy", labels[rows])
    copies: list[NDArray[np.int64]] = []
    previous = base[:0]
    for start in range(0, n, BLOCK):
        own = rows[start : start + BLOCK]
        block = np.array(base[own])
        if start >= len(base):
            partner = order[(place[own] + random.integers(1, 400, len(own))) % len(base)]
            share = random.uniform(0.4, 0.6, (len(own), 1, 1, 1))
            block = changed(share * block + (1 - share) * base[partner], random)
        if start:
            copy = np.arange(0, len(block), COPIES)
            block[copy] = changed(previous[copy].astype(float), random)
            copies.append(np.stack([start - BLOCK + copy, start + copy], 1))
        previous = block
        if kind == "arrays":
            images[start : start + len(block)] = block
        else:
            write_files(folder, start, block, dataset.classes, labels[own])
    return np.concatenate(copies)


def changed(images: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.uint8]:
    """Images (N, H, W, C), each mirrored by chance, shifted and recoloured."""
    mirrored = random.random(len(images)) < 0.5
    images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    shifts = random.integers(0, 7, (len(images), 2))
    moved = np.stack([one[y : y + 32, x : x + 32] for one, (y, x) in zip(padded, shifts, strict=True)])
    gains = random.uniform(0.8, 1.2, (len(images), 1, 1, 3))
    return np.clip(moved * gains + random.uniform(-15, 15, gains.shape), 0, 255).astype(np.uint8)


def write_files(
    folder: Path, start: int, images: NDArray[np.uint8], classes: tuple[str, ...], labels: NDArray[np.int64]
) -> None:
    """One PNG for each image, in a folder for each class."""
    from PIL import Image

    for number, (image, label) in enumerate(zip(images, labels, strict=True), start):
        place = folder / classes[label]
        place.mkdir(exist_ok=True)
        Image.fromarray(image).save(place / f"{number:07d}.png", compress_level=1)


def recall(folder: Path, planted: NDArray[np.int64]) -> dict[str, float | int]:
    """How many of the copies look has listed as exact or near; rows are found again by their pixels' hashes."""
    from pocketlens.data.dataset import hash_images
    from pocketlens.datasets import load

    pairs = folder / "look" / "duplicates.csv"
    if not pairs.exists() or not (folder / "images" / "images.npy").exists():
        return {}
    os.environ["POCKETLENS_HOME"] = str(folder / "home")
    dataset, sealed = load(str(folder / "images"))
    rows = {each.tobytes(): f"development,{row}" for row, each in enumerate(dataset.hashes)}
    rows |= {each.tobytes(): f"test,{row}" for row, each in enumerate(sealed.hashes)}
    images = np.load(folder / "images" / "images.npy", mmap_mode="r")
    names = [[rows[each.tobytes()] for each in hash_images(images[column])] for column in planted.T]
    listed = set()
    for line in pairs.read_text(encoding="utf-8").splitlines()[1:]:
        part_a, row_a, part_b, row_b, _, judgement, *_ = line.split(",")
        if judgement != "similar":
            listed.add(frozenset((f"{part_a},{row_a}", f"{part_b},{row_b}")))
    found = sum(frozenset(pair) in listed for pair in zip(*names, strict=True))
    return {"copies": len(planted), "found": found}


if __name__ == "__main__":
    main()
