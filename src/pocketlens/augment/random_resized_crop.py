"""Random resized crop: a random box of the image is stretched to one size. Szegedy et al. 2014."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._boxes import draw_boxes
from pocketlens.augment._geometry import cut
from pocketlens.augment._ranges import check_pair
from pocketlens.draws import Draws
from pocketlens.errors import check_whole


def random_resized_crop(
    images: Tensor,
    targets: Tensor,
    draws: Draws,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (0.75, 1.3333333333333333),
    size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Cuts a box whose share of the area is uniform in `scale` and whose width over height is log-uniform in `ratio`.

    Where none of ten boxes fits, it is the largest one in the middle. Source: arXiv:1409.4842, section 6. Results are
    of `size` x `size` px; None: as large as the images. As the first augmentation, behind a prepare that ends with
    middle(size), it is given whole pictures, from which the middle has not been cut out.
    """
    if size is not None:
        check_whole("random_resized_crop", "size", size, 1, 10_000)
    check_pair("random_resized_crop", "scale", scale, 1e-6, 1)
    check_pair("random_resized_crop", "ratio", ratio, 0.01, 100)
    height, width = images.shape[2:]
    largest = (min(height, round(width / ratio[0])), min(width, round(height * ratio[1])))
    boxes = draw_boxes(draws, (height, width), scale, (1 / ratio[1], 1 / ratio[0]), largest)
    return cut(images, boxes, None if size is None else (size, size)), targets
