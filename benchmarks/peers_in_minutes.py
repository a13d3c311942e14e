"""`pocketlens auto` beside Ultralytics' classification training: the same folder of images, cores and minutes.

    python -m venv ENV && ENV/bin/pip install ultralytics
    python benchmarks/peers_in_minutes.py --minutes 15 --python ENV/bin/python --out beside/

CIFAR-100 is written as PNG files into `--out`: train/, val/ (a tenth of the development images) and test/, with a
folder for each class. Each side is a process of its own and trains from random weights, one after the other.
Ultralytics' is in an environment of its own, as its licence is the AGPL; it gets its defaults, except images of 32 px,
`--batch` and the time limit, which is an option of its training, and its best epoch by validation accuracy is scored on
the test images.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pocketlens.datasets import load
from pocketlens.scoring.ledger import record

THEIRS = """
import sys
from ultralytics import YOLO
folder, minutes, model, batch, out = sys.argv[1:]
net = YOLO(model)
net.train(data=folder, imgsz=32, time=float(minutes) / 60, batch=int(batch), device="cpu", workers=2, project=out)
print(f"test accuracy {100 * net.val(split='test').top1:.2f} %")
"""
OURS = """
import sys
import pocketlens as pl
folder, minutes, runs = sys.argv[1:]
result = pl.auto(folder, minutes=float(minutes), runs=runs)
print(f"test accuracy {100 * result.test.top1.value:.2f} %")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--python", type=Path, required=True, help="of the environment that has ultralytics")
    parser.add_argument("--models", nargs="+", default=["yolo11n-cls.yaml"], help="of Ultralytics, from random weights")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    images = (args.out / "images").resolve()
    if not images.exists():
        write_images(images)
    minutes = str(args.minutes)
    timed("pocketlens auto", [sys.executable, "-c", OURS, str(images), minutes, str(args.out / "runs")])
    for model in args.models:
        words = [str(args.python), "-c", THEIRS, str(images), minutes, model, str(args.batch), str(args.out / "theirs")]
        timed(f"Ultralytics {model}", words)


def write_images(folder: Path) -> None:
    """Writes train/, val/ and test/, with a PNG file for each image."""
    dataset, sealed = load("cifar100")
    record(sealed, run="benchmark", recipe="", weights="none: written as files")
    test = sealed._open()
    held = np.random.default_rng(0).permutation(len(dataset)) < len(dataset) // 10
    parts = {"train": (dataset, np.flatnonzero(~held)), "val": (dataset, np.flatnonzero(held))}
    for name, (part, rows) in {**parts, "test": (test, np.arange(len(test.labels)))}.items():
        for row in rows:
            path = folder / name / dataset.classes[part.labels[row]] / f"{row:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part.images[row]).save(path)


def timed(name: str, words: list[str]) -> None:
    """Runs a program and prints the last line of its output with the minutes that it took."""
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-1500:]}")
    print(f"{name}: {done.stdout.splitlines()[-1]} after {(time.perf_counter() - began) / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
