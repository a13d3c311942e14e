"""What several processes gain on this machine: torchrun against one process, and trials at the same time.

    python benchmarks/scaling.py [--data DIR]

Trains a small net on 4,000 rows of CIFAR-100 in one process and in two with torchrun, and runs a comparison of eight
short trials one after the other, two at a time, and on a Ray cluster of two nodes that it starts on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NET = ["--model", "vgg(depth=11, width=0.25, batch_norm=False)", "--rows", "4000", "--epochs", "3"]
NET += ["--batch-size", "256", "--optimizer", "sgd", "--lr", "0.02", "--sizes", "100%", "--device", "cpu"]
NET += ["--augment", "flip | crop(pad=2)"]
TRIALS = ["base", "lr=0.03", "--model", "lenet", "--rows", "4000", "--epochs", "4", "--repeat", "4", "--sizes", "100%"]
TRIALS += ["--optimizer", "sgd", "--lr", "0.02", "--augment", "flip", "--threads", "1", "--device", "cpu"]


def main() -> None:
    """Prints one JSON line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="the folder that holds cifar100/")
    args = parser.parse_args()
    data = ["--data", args.data] if args.data else []
    with tempfile.TemporaryDirectory() as folder:
        for n, threads in ((1, 1), (1, 2), (2, 1)):
            runs = Path(folder) / f"{n}-{threads}"
            launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)] if n > 1 else []
            own = ["train", "cifar100", *NET, *data, "--threads", str(threads), "--runs", str(runs)]
            seconds = _seconds([*launch, "-m", "pocketlens", *own])
            timing = [json.loads(line) for line in next(runs.glob("*/timing.jsonl")).read_text().splitlines()]
            rate = round(timing[-1]["images_per_second"])
            last = json.loads(next(runs.glob("*/history.jsonl")).read_text().splitlines()[-1])
            found = {"processes": n, "threads": threads, "images_per_second": rate, "seconds": seconds}
            print(json.dumps({**found, "train_loss": last["train_loss"], "val_loss": last["val_loss"]}), flush=True)
        trials = ["-m", "pocketlens", "compare", "cifar100", *TRIALS, *data, "--runs", folder]
        for jobs in (1, 2):
            seconds = _seconds([*trials, "--jobs", str(jobs)])
            print(json.dumps({"trials": 8, "jobs": jobs, "seconds": seconds}), flush=True)
        with _two_nodes() as address:
            seconds = _seconds([*trials, "--cluster", address])
            print(json.dumps({"trials": 8, "cluster": "two nodes of one core", "seconds": seconds}), flush=True)


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, env=environment)
    return round(time.perf_counter() - began, 1)


@contextmanager
def _two_nodes() -> Iterator[str]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    sizes = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**sizes, "include_dashboard": False})
    try:
        cluster.add_node(**sizes)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
