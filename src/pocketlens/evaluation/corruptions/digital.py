"""Digital: contrast, elastic warps, coarse pixels, JPEG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.evaluation.corruptions.sampling import grid, sample

if TYPE_CHECKING:
    import PIL.Image

Images = NDArray[np.float32]  # (B, H, W, C) in 0..1


def contrast(images: Images, severity: int, random: np.random.Generator) -> Images:  # noqa: ARG001 - one signature
    """Values are moved towards the mean of their channel."""
    kept = np.float32((0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1])
    means = images.mean(axis=(1, 2), keepdims=True)
    return np.asarray((images - means) * kept + means, np.float32)


def elastic_transform(images: Images, severity: int, random: np.random.Generator) -> Images:
    """A random affine map, then a smooth random shift of every pixel.

    The table gives (strength, smoothness, affine) as shares of the height.
    """
    from scipy.ndimage import gaussian_filter

    batch, height, width, _ = images.shape
    table = ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))
    strength, smooth, affine = (share * height for share in table[severity - 1])
    middle, third = np.array([width, height]) // 2, min(height, width) // 3
    corners = middle + third * np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])  # (3, 2) x, y
    moved = corners + random.uniform(-affine, affine, (batch, 3, 2))
    homogeneous = np.concatenate([moved, np.ones((batch, 3, 1))], axis=2)
    back = np.linalg.solve(homogeneous, np.broadcast_to(corners, (batch, 3, 2)))  # (B, 3, 2): target to source
    y, x = grid(images)
    places = np.stack([np.broadcast_to(x, y.shape), y, np.ones_like(y)], axis=-1) @ back[:, None]  # (B, H, W, 2)
    warped = sample(images, places[..., 1], places[..., 0], "reflection")
    if strength == 0:
        return warped
    shifts = random.uniform(-1, 1, (2, batch, height, width))
    down, right = strength * gaussian_filter(shifts, (0, 0, smooth, smooth), mode="reflect", truncate=3)
    return sample(warped, y + down, x + right, "reflection")


def pixelate(images: Images, severity: int, random: np.random.Generator) -> Images:  # noqa: ARG001 - one signature
    """Downsampled and upsampled again with a box filter."""
    from PIL import Image

    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]
    height, width = images.shape[1:3]
    small = (max(1, int(width * share)), max(1, int(height * share)))

    def change(picture: Image.Image) -> Image.Image:
        return picture.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)

    return np.stack([_from_picture(change(_to_picture(image)), image.shape) for image in images])


def jpeg_compression(images: Images, severity: int, random: np.random.Generator) -> Images:  # noqa: ARG001 - one signature
    """Encoded as JPEG of low quality."""
    from PIL import Image

    quality = (80, 65, 58, 50, 40)[severity - 1]
    result = []
    for image in images:
        buffer = io.BytesIO()
        _to_picture(image).save(buffer, format="JPEG", quality=quality)
        with Image.open(buffer) as picture:
            result.append(_from_picture(picture, image.shape))
    return np.stack(result)


def _to_picture(image: Images) -> PIL.Image.Image:
    from PIL import Image

    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _from_picture(picture: object, shape: tuple[int, ...]) -> Images:
    return np.asarray(picture, np.float32).reshape(shape) / np.float32(255)
