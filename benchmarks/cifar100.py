"""The default recipe on CIFAR-100: accuracy on the test rows after every epoch, minutes, and the rate of computing.

    python benchmarks/cifar100.py --seeds 0 1 2 --out results.jsonl

This is a measurement, not a selection: nothing is chosen by what it prints, and the number that counts is that of the
last epoch, for seeds that were fixed before. It trains on all 50,000 training rows (no validation part) and opens the
test rows once for each seed, on the record. FLOP are 6 x multiply-adds x images and nothing else; they are compared
with the rate of large products of matrices in fp32 and bf16 in the same process, measured before and after.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from pocketlens.data.split import make_split
from pocketlens.datasets import load
from pocketlens.events import Epoch
from pocketlens.recipe import Experiment, read_recipe
from pocketlens.scoring import ledger
from pocketlens.scoring.metrics import coarse_accuracy
from pocketlens.training.classifier import predict_logits
from pocketlens.training.device import environment
from pocketlens.training.fit import fit
from pocketlens.training.model_summary import layer_table
from pocketlens.training.state import State


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=None, help="stop after so many steps (to measure speed alone)")
    parser.add_argument("--out", type=Path, default=None, help="append one JSON line for each seed")
    args = parser.parse_args()
    print(json.dumps(environment()))
    results = [measure(seed, args) for seed in args.seeds]
    accuracies = [result["accuracies"][-1] for result in results if result["accuracies"]]
    if len(accuracies) > 1:
        print(
            f"top-1 without test-time augmentation, {len(accuracies)} seeds: "
            f"mean {100 * statistics.mean(accuracies):.2f} %, "
            f"standard deviation {100 * statistics.stdev(accuracies):.2f}, all: "
            + ", ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
        )


def measure(seed: int, args: argparse.Namespace) -> dict:
    """Trains one seed and measures it."""
    dataset, sealed = load("cifar100", args.data)
    split = make_split(dataset, val_fraction=0.0)
    recipe = read_recipe(args.recipe).changed(precision=args.precision)
    before = product_rates(args.device)
    state = State(Experiment("cifar100", recipe, seed=seed, val_fraction=0.0), dataset, split, args.device)
    ledger.record(sealed, run=f"benchmark seed {seed}", recipe=recipe.id, weights="measured after every epoch")
    test = sealed._open()
    costs = {
        size: sum(
            layer.multiply_adds for layer in layer_table(recipe.model, (*size, dataset.shape[2]), len(dataset.classes))
        )
        for size, _ in state.plan.stages
    }
    seconds, operations, began = 0.0, 0, time.perf_counter()
    accuracies, coarse, by_size = [], [], {size: [] for size in costs}
    logits = None
    for event in fit(state):
        now = time.perf_counter()
        seconds += now - began
        if isinstance(event, Epoch):
            logits = predict_logits(state.classifier, test.images, device=args.device)
            accuracies.append(float((logits.argmax(1) == test.labels).mean()))
            coarse.append(coarse_accuracy(logits, test.labels, dataset.superclass_of, 20).value)
            print(
                f"seed {seed} epoch {event.number}/{event.n_epochs}: {seconds / 60:.2f} min of training, train loss "
                f"{event.record['train_loss']:.4f}, test top-1 {100 * accuracies[-1]:.2f} %, "
                f"coarse {100 * coarse[-1]:.2f} %, "
                f"{operations / seconds / 1e9:.0f} GFLOP/s",
                flush=True,
            )
        else:
            size = state.plan.size(event.step - 1)
            operations += 6 * costs[size] * event.n_images
            by_size[size].append(now - began)
            if args.steps is not None and event.step >= args.steps:
                break
        began = time.perf_counter()
    after = product_rates(args.device)
    result = {
        "seed": seed,
        "recipe": recipe.id,
        "accuracies": accuracies,
        "coarse": coarse,
        "minutes": seconds / 60,
        "pflop": operations / 1e15,
        "gflops": operations / seconds / 1e9,
        "product_gflops": [before, after],
        "share_of_product": operations / seconds / 1e9 / max(before[args.precision], after[args.precision]),
        "median_seconds_per_step": {
            f"{size[0]} px": statistics.median(taken) for size, taken in by_size.items() if taken
        },
        "multiply_adds": {f"{size[0]} px": cost for size, cost in costs.items()},
        "weights": state.checkpoint().weights_hash(),
        **environment(),
    }
    print(json.dumps(result), flush=True)
    if args.out is not None:
        with open(args.out, "a") as file:
            file.write(json.dumps(result) + "\n")
    return result


def product_rates(device: str, side: int = 3072, repeats: int = 7) -> dict[str, float]:
    """GFLOP/s of a product of two matrices of 3072 x 3072, in fp32 and in bf16: the median of the repeats."""
    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        taken = []
        for _ in range(repeats):
            began = time.perf_counter()
            (a @ b)[0, 0].item()
            taken.append(time.perf_counter() - began)
        rates[name] = 2 * side**3 / statistics.median(taken) / 1e9
    return rates


if __name__ == "__main__":
    main()
