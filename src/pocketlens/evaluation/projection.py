"""Features in two dimensions: principal components, then t-SNE (van der Maaten, Hinton 2008, JMLR 9).

t-SNE sums the forces between all points. Several threads would add them in an order of their own, and the least
difference grows to another picture; one thread gives the same bytes each time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

N_COMPONENTS = 50  # of the features, from which t-SNE starts
STEPS = 1000  # of t-SNE
PERPLEXITY = 30.0
LEAST = 4  # points that have neighbours
Points = NDArray[np.float64]


def principal_components(features: NDArray[np.float32], seed: int = 0) -> Points:
    """(N, up to 50) float64 of features (N, D), by a randomised solver."""
    from sklearn.decomposition import PCA

    n = min(N_COMPONENTS, *features.shape)
    with threadpool_limits(1):
        pca = PCA(n, svd_solver="randomized", random_state=seed)
        found: Points = pca.fit_transform(features.astype(np.float64))
    return found


def tsne(components: Points, seed: int = 0, steps: int = STEPS) -> Points:
    """(N, 2) float64: t-SNE of points (N, D) that are sorted by their variance, as principal components are.

    N must be at least LEAST, and the first component must vary.
    """
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, max(1.0, (len(components) - 1) / 3))
    with threadpool_limits(1):
        method = TSNE(perplexity=perplexity, init="pca", random_state=seed, max_iter=steps, n_jobs=1)
        return np.asarray(method.fit_transform(components), np.float64)
