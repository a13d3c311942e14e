"""What a training step gains by keeping freed memory in the process: seconds with and without it, side by side.

    python benchmarks/memory.py --sizes 20 32 --rounds 3

Each measurement is a process of its own (the setting cannot be taken back); the two kinds alternate, and the medians
over the rounds and their ratio are printed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--measure", choices=["kept", "returned"], default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        print(json.dumps(measure(args.measure == "kept", args.sizes, args.batch_size)))
        return
    taken: dict[str, list[list[float]]] = {"returned": [], "kept": []}
    for _ in range(args.rounds):
        for kind, rounds in taken.items():
            words = [sys.executable, __file__, "--measure", kind, "--batch-size", str(args.batch_size), "--sizes"]
            out = subprocess.run([*words, *map(str, args.sizes)], capture_output=True, text=True, check=True)
            rounds.append(json.loads(out.stdout.splitlines()[-1]))
    for place, size in enumerate(args.sizes):
        returned, kept = (statistics.median(round_[place] for round_ in rounds) for rounds in taken.values())
        print(f"{size} px: {returned:.3f} s a step, {kept:.3f} s with memory kept: {returned / kept:.2f} times as fast")


def measure(keep: bool, sizes: list[int], batch_size: int) -> list[float]:
    """Median seconds of a step of the default model at each size."""
    import torch

    from pocketlens.losses.cross_entropy import cross_entropy
    from pocketlens.models.lens import lens
    from pocketlens.optimizers.muon import muon
    from pocketlens.training.device import keep_freed_memory

    if keep and not keep_freed_memory():
        raise SystemExit("this C library cannot be told to keep freed memory")
    model = lens((32, 32, 3), 100).to(memory_format=torch.channels_last)
    optimizer = muon([{"params": list(model.parameters()), "weight_decay": 0.0, "lr_scale": 1.0}], 0.01)
    targets = torch.eye(100)[torch.arange(batch_size) % 100]
    medians = []
    for size in sizes:
        images = torch.randn(batch_size, 3, size, size).to(memory_format=torch.channels_last)
        taken = []
        for _ in range(6):
            began = time.perf_counter()
            cross_entropy(model(images), targets).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            taken.append(time.perf_counter() - began)
        medians.append(statistics.median(taken[1:]))
    return medians


if __name__ == "__main__":
    main()
