"""Seconds and memory of train, test, report and export with 1,000 to 20,000 classes, on made images and a tiny network.

    python benchmarks/many_classes.py                                   1,000, 2,000, 5,000, 10,000 and 20,000 classes
    python benchmarks/many_classes.py --classes 1000 --address-space 8  within 8 GB of address space

Every class has seven noisy copies of a picture of its own, 8 x 8 px. `train` trains half an epoch and scores the
validation images, `test` predicts and scores the test images, `report` writes page and tables, `export` writes ONNX.
Each is a process of its own. Columns, for each of the four: seconds of processor time, which other work on the machine
hardly changes; the most anonymous memory that it held at once, in
MB, sampled twenty times a second (pages of mapped files are not counted: the system takes them back when it needs
memory). Then the number of test images and of occurring cells of their confusion matrix, and the size of the page, of
scores-test.json and of the predictions, in MB. The table is Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

N_COPIES, SIDE, EVERY = 7, 8, 0.05
HEAD = (
    "classes", *(f"{phase}, {unit}" for phase in ("train", "test", "report", "export") for unit in ("s", "MB")),
    "test images", "cells", "page", "scores", "predictions",
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds of processor time, and the most anonymous memory in bytes."""

    seconds: float
    memory: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[1000, 2000, 5000, 10_000, 20_000])
    parser.add_argument("--epochs", default="0.5")
    parser.add_argument("--address-space", type=float, default=None, metavar="GB")
    args = parser.parse_args()
    print("| " + " | ".join(HEAD) + " |\n|" + "--:|" * len(HEAD), flush=True)
    for n_classes in args.classes:
        with tempfile.TemporaryDirectory() as folder:
            print("| " + " | ".join(row(Path(folder), n_classes, args.epochs, args.address_space)) + " |", flush=True)


def row(folder: Path, n_classes: int, epochs: str, space: float | None) -> list[str]:
    """The cells of one line of the table."""
    make_images(folder / "many.npz", n_classes)
    given = ["--recipe", "small", "--model", "mlp(hidden=64)", "--epochs", epochs, "--label", "many"]
    phases = (["train", "many.npz", *given], ["test", "many"], ["report", "many"], ["export", "many"])
    costs = [run([*words, *(["--format", "onnx"] if words[0] == "export" else [])], folder, space) for words in phases]
    made = next((folder / "pocketlens-runs").glob("*/report.html")).parent
    scores = json.loads((made / "scores-test.json").read_text())
    confusion = scores["confusion"]
    n_cells = len(confusion["true"]) if isinstance(confusion, dict) else int(np.count_nonzero(confusion))
    sizes = (made / name for name in ("report.html", "scores-test.json", "predictions-test.safetensors"))
    return [
        f"{n_classes:,}",
        *(text for cost in costs for text in (f"{cost.seconds:.0f}", f"{cost.memory / 1e6:,.0f}")),
        f"{scores['n']:,}",
        f"{n_cells:,}",
        *(f"{path.stat().st_size / 1e6:,.1f}" for path in sizes),
    ]


def make_images(path: Path, n_classes: int) -> None:
    """Writes the data set."""
    random, labels = np.random.default_rng(0), np.repeat(np.arange(n_classes), N_COPIES)
    pictures = random.integers(0, 256, (n_classes, SIDE, SIDE, 3))
    images = np.clip(pictures[labels] + random.normal(0, 30, (len(labels), SIDE, SIDE, 3)), 0, 255)
    np.savez(path, images=images.astype(np.uint8), labels=labels)


def run(words: list[str], folder: Path, space: float | None) -> Cost:
    """Runs a command of pocketlens in the folder, within so many GB of address space.

    Raises:
        SystemExit: it fails.
    """

    def limit() -> None:
        if space is not None:
            resource.setrlimit(resource.RLIMIT_AS, (int(space * 1e9),) * 2)

    home = {**os.environ, "POCKETLENS_HOME": str(folder / "home")}
    most, ended = 0, 0
    with open(folder / "said.txt", "w", encoding="utf-8") as said:
        command = [sys.executable, "-m", "pocketlens", *words]
        process = subprocess.Popen(command, cwd=folder, env=home, stdout=said, stderr=said, preexec_fn=limit)
        while not ended:
            most = max(most, anonymous(process.pid))
            time.sleep(EVERY)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} has failed:\n{(folder / 'said.txt').read_text(encoding='utf-8')[-2000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, most)


def anonymous(process: int) -> int:
    """The anonymous memory in bytes that a process holds now; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
