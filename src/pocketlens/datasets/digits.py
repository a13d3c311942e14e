"""Handwritten digits, 8x8, grey: the data set that comes with scikit-learn, so nothing has to be downloaded.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

import numpy as np

from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.sources.folders import Folders
from pocketlens.data.split import Parts


def digits(folders: Folders) -> Parts:
    """1,797 images of 8x8 in 10 classes; the values 0..16 become 0..255. There is no official test part."""
    from sklearn.datasets import load_digits

    source = load_digits()
    images = np.rint(source.images * (255 / 16)).astype(np.uint8)[:, :, :, None]  # (1797, 8, 8, 1)
    labels = source.target.astype(np.int64)
    return Parts(Dataset("digits", images, labels, tuple("0123456789"), hash_images(images)))
