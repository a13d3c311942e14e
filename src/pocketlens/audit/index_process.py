"""The process in which faiss finds nearest neighbours: `python -m pocketlens.audit.index_process FOLDER COUNT THREADS`.

It is a process of its own because torch and faiss each bring an OpenMP runtime, and two of them in one process crash
on macOS (https://github.com/faiss-wheels/faiss-wheels/issues/73); so nothing here may import torch. The folder holds
rows.npy, (N, D) float32 of length 1, and the queries 0.npy, 1.npy, …; for each, rows-0.npy and similarity-0.npy are
written, (Q, COUNT) int64 and float32, -1 where there are fewer neighbours. A line is printed for every block of
queries: how many are done.

The index is IVF (Sivic and Zisserman 2003; Jégou, Douze and Schmid 2011; Douze et al. 2024, "The Faiss library"):
k-means divides the rows into cells of about ROWS_OF_CELL, and a query looks into the PROBES nearest ones. So the work
for a query does not grow with the number of rows, but for the choice of its cells. It is deterministic.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROWS_OF_CELL = 256
PROBES = 32
_SAMPLED, _PASSES = 48, 10  # rows of each cell that k-means sees, and how often
_BLOCK = 8192  # rows that are added, or asked for, at a time


def main() -> None:
    """Reads the folder, builds the index, and answers the queries."""
    folder, count, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    search(folder, count, threads)


def search(folder: Path, count: int, threads: int) -> None:
    """Writes the `count` nearest rows of every query, and how similar they are."""
    import faiss

    faiss.omp_set_num_threads(threads)
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    n, dimensions = rows.shape
    n_cells = max(1, n // ROWS_OF_CELL)
    cells = faiss.IndexFlatIP(dimensions)
    index = faiss.IndexIVFFlat(cells, dimensions, n_cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.seed, index.cp.spherical = _PASSES, 0, True
    chosen = np.linspace(0, n - 1, min(n, _SAMPLED * n_cells)).astype(np.int64)
    index.cp.min_points_per_centroid = 1
    index.train(np.ascontiguousarray(rows[chosen]))
    for start in range(0, n, _BLOCK):
        index.add(np.ascontiguousarray(rows[start : start + _BLOCK]))
    index.nprobe = min(PROBES, n_cells)
    done, number = 0, 0
    while (folder / f"{number}.npy").exists():
        queries = np.load(folder / f"{number}.npy", mmap_mode="r")
        found, similarity = np.empty((len(queries), count), np.int64), np.empty((len(queries), count), np.float32)
        for start in range(0, len(queries), _BLOCK):
            part = slice(start, start + _BLOCK)
            similarity[part], found[part] = index.search(np.ascontiguousarray(queries[part]), count)
            done += len(found[part])
            print(done, flush=True)
        np.save(folder / f"rows-{number}.npy", found)
        np.save(folder / f"similarity-{number}.npy", similarity)
        number += 1


if __name__ == "__main__":
    main()
