"""What `auto` makes of folders of pictures, beside a yardstick on the same test rows: the table of the README.

    python benchmarks/folders.py photos/ flowers/ --minutes 5 --seeds 3 --out table/

The yardstick is that of `benchmarks/probe.py`: plain timm and scikit-learn, without any code of ours. `auto` runs once
for each folder and seed, with an empty cache, as a first run has; a seed draws another split and other trainings, the
test images stay the same. All results are kept in `--out`, so a benchmark that was stopped goes on. The paired interval
is that of the mean over seeds of the difference on each test image, by bootstrap over images.

The test part is opened again for each seed: it measures our defaults, and chooses nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from probe import features, interval, regression

from pocketlens.datasets import Aim, load
from pocketlens.models._bodies import EMBEDDED, probe_recipe
from pocketlens.scoring.predictions import read_predictions
from pocketlens.training.run import Run

WAYS = ("probe", "fine-tuned", "from scratch")
COLUMNS = ("folder", "development / test images", *WAYS, "chosen", "yardstick", "auto", "difference", "seconds")


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Which test rows it has right, (N,), of how many development rows it was fitted, and in which time."""

    right: NDArray[np.bool_]
    n_development: int
    seconds: float


def yardstick(folder: Path, kept: Path) -> Yardstick:
    """The yardstick of a folder, from the file `kept` where it is there."""
    if not kept.exists():
        recipe, began = probe_recipe(EMBEDDED), time.perf_counter()
        development, sealed = load(f"folder({str(folder)!r})", aim=Aim(recipe.model, recipe.prepare))
        test = sealed._open()
        right = regression(features(development, folder), development.labels).predict(features(test, folder))
        seconds = time.perf_counter() - began
        np.savez(kept, right=right == test.labels, n=len(development), seconds=seconds)
    found = np.load(kept)
    return Yardstick(found["right"], int(found["n"]), float(found["seconds"]))


def auto(folder: Path, minutes: float, seed: int, out: Path) -> dict[str, Any]:
    """What `pocketlens auto --json` says of a folder, from before where it has ended."""
    kept = out / f"{folder.name}-{minutes:g}-{seed}.json"
    if not kept.exists():
        cache = out / f"cache-{kept.stem}"
        words = ["auto", str(folder), "--minutes", f"{minutes:g}", "--seed", str(seed), "--test", "--json"]
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(cache.resolve()),
            "XDG_DATA_HOME": str(out.resolve() / "data"),
        }
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pocketlens", *words, "--runs", str(out / "runs")],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{' '.join(words)}: {done.stderr[-2000:]}")
        kept.write_text(json.dumps({**json.loads(done.stdout), "wall": time.perf_counter() - began}))
        kept.with_suffix(".log").write_text(done.stderr)
        shutil.rmtree(cache, ignore_errors=True)
    result: dict[str, Any] = json.loads(kept.read_text())
    return result


def row(folder: Path, results: list[dict[str, Any]], measured: Yardstick, out: Path) -> str:
    """A line of the table: means over the seeds, in %."""
    tested = [
        read_predictions(Run.open(each["run"], out / "runs").file("predictions-test.safetensors")) for each in results
    ]
    right = np.stack([each.predicted == each.labels for each in tested])  # (seeds, N)
    gap = right.mean(0) - measured.right
    low, high = interval(gap)
    stages = [next((each for each in result["stages"] if each["stage"] == "approach"), {}) for result in results]
    chosen = ", ".join(dict.fromkeys(str(stage.get("chosen", "from scratch")) for stage in stages))
    cells = [
        folder.name,
        f"{measured.n_development:,} / {len(measured.right):,}",
        *(_held_out(stages, name) for name in WAYS),
        chosen,
        f"{100 * measured.right.mean():.1f}",
        " ".join(f"{100 * each.mean():.1f}" for each in right),
        f"{100 * gap.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
        f"{np.mean([result['seconds'] for result in results]):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _held_out(stages: list[dict[str, Any]], name: str) -> str:
    tried = [each for stage in stages for each in stage.get("candidates", []) if each["name"] == name]
    found = [each["accuracy"]["value"] for each in tried]
    return f"{100 * np.mean(found):.1f}" if found else "-"


def main() -> None:
    """Measures what is missing, and prints the table as far as it is known after each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("folders-benchmark"), help="what is measured is kept here")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}", sep="\n")
    for folder in args.folders:
        results = [auto(folder.resolve(), args.minutes, seed, args.out) for seed in range(args.seeds)]
        measured = yardstick(folder.resolve(), args.out / f"{folder.name}-yardstick.npz")
        print(row(folder, results, measured, args.out), flush=True)


if __name__ == "__main__":
    main()
