"""Images per second of a frozen body: plain timm beside what `pocketlens features` uses, in one run on this machine.

python benchmarks/features.py --body tf_efficientnet_lite0 --images 128

Each way sees the same random images, in turns, `--repeat` times; the table gives the median. "plain timm" is
`timm.create_model(...).eval()` on batches of 32, as its documentation shows it.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import Tensor

from pocketlens.models._bodies import EMBEDDED, find_body
from pocketlens.training.device import has_bf16
from pocketlens.training.fused import fused, run_in_batches

Forward = Callable[[Tensor], Tensor]


def ways(name: str, size: int) -> dict[str, Forward]:
    """The ways to compute features, by name."""
    torch.manual_seed(0)
    plain = timm.create_model(name, num_classes=0).eval()
    fast = fused(plain, (size, size, 3))

    def in_batches_of_32(images: Tensor) -> Tensor:
        return torch.cat([plain(images[start : start + 32]) for start in range(0, len(images), 32)])

    found: dict[str, Forward] = {
        "plain timm": in_batches_of_32,
        "pocketlens, fp32": lambda images: run_in_batches(fast, images),
    }
    if has_bf16("cpu"):
        half = fused(plain, (size, size, 3)).bfloat16()
        found["pocketlens, bf16"] = lambda images: run_in_batches(half, images.bfloat16())
    return found


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--body", default=EMBEDDED)
    parser.add_argument("--size", type=int, help="px (default: the body's)")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    body = find_body(args.body)
    size = args.size or (body.size if body else 224)
    images = torch.randn(args.images, 3, size, size)
    seconds: dict[str, list[float]] = {}
    outputs: dict[str, Tensor] = {}
    chosen = ways(args.body, size)
    with torch.inference_mode():
        for forward in chosen.values():
            forward(images[:32])
        for _ in range(args.repeat):
            for name, forward in chosen.items():
                began = time.perf_counter()
                outputs[name] = forward(images).float()
                seconds.setdefault(name, []).append(time.perf_counter() - began)
    print(f"{args.body} at {size} px, {args.images} images, median of {args.repeat}; {processor()}, ", end="")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| way | images per second | times plain timm | largest difference of a feature |\n|---|--:|--:|--:|")
    plain = statistics.median(seconds["plain timm"])
    for name, taken in seconds.items():
        away = float((outputs[name] - outputs["plain timm"]).abs().max())
        share = away / float(outputs["plain timm"].abs().max())
        median = statistics.median(taken)
        print(f"| {name} | {args.images / median:.1f} | {plain / median:.1f} | {share:.1e} of the largest |")


if __name__ == "__main__":
    main()
