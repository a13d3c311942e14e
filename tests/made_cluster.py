"""A Ray cluster of two nodes of one core on this machine, as a process: it prints its address, and obeys its input.

`kill` ends the second node as a power cut would; the end of the input ends the cluster.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def two_nodes() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a cluster, and its process."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = next((line.split()[1] for line in process.stdout if line.startswith("address ")), "")
        assert address, "the cluster does not start"
        yield address, process
    finally:
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def main() -> None:
    """Runs the cluster."""
    from ray.cluster_utils import Cluster

    sizes = {"num_cpus": 1, "object_store_memory": 80_000_000}
    health = {"health_check_initial_delay_ms": 2000, "health_check_period_ms": 1000}  # instead of 5 and 3 seconds
    head = {**sizes, "include_dashboard": False, "_system_config": health}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**sizes)
    cluster.wait_for_nodes()
    print(f"address {cluster.address}", flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(second, allow_graceful=False)
            print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
