"""Photos that are too large are decoded smaller where they can be; bombs stay refused."""

from __future__ import annotations

import numpy as np
import pytest
from made_images import encoded, refused
from PIL import Image

from pocketlens.data.identity import hash_file
from pocketlens.data.images import MAX_PIXELS, DecodeOptions, decode, decode_image, read_header, read_image

PHOTO = np.asarray(Image.linear_gradient("L").resize((320, 200)).convert("RGB"))
SMALL = DecodeOptions(max_pixels=20_000)  # 64,000 are above it


def test_a_large_jpeg_is_decoded_smaller_but_not_below_what_is_needed() -> None:
    data = encoded(PHOTO, "JPEG", quality=95)
    assert (read_header(data, SMALL).height, read_header(data, SMALL).width) == (200, 320)
    for needed, shape in ((100, (100, 160, 3)), (51, (100, 160, 3)), (50, (50, 80, 3)), (8, (25, 40, 3))):
        assert decode_image(data, SMALL, needed=needed).pixels.shape == shape
    with refused("0.064 Mpx > 0.02 Mpx"):
        decode_image(data, SMALL, needed=101)  # a half is too small, and the whole is too large
    with refused("0.064 Mpx > 0.02 Mpx"):
        decode_image(data, SMALL)
    whole = np.asarray(Image.fromarray(PHOTO).resize((80, 50), Image.Resampling.BICUBIC), int)
    assert np.abs(decode_image(data, SMALL, needed=50).pixels.astype(int) - whole).mean() < 3
    assert read_image(data, channels=3, size=40, options=SMALL).shape == (40, 40, 3)


def test_what_is_small_enough_is_decoded_whole_whatever_is_needed() -> None:
    data = encoded(PHOTO, "JPEG")
    assert np.array_equal(decode_image(data, needed=8).pixels, decode(data))


def test_turned_photos_are_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PHOTO, "JPEG", exif=exif)
    assert (read_header(data, SMALL).height, read_header(data, SMALL).width) == (320, 200)
    assert decode_image(data, SMALL, needed=50).pixels.shape == (80, 50, 3)


def test_other_formats_are_refused_and_the_limit_is_an_option() -> None:
    for kind in ("PNG", "WEBP", "TIFF"):
        data = encoded(PHOTO, kind)
        for function in (read_header, decode_image):
            with refused("Mpx > 0.02 Mpx"):
                function(data, SMALL)
        assert decode_image(data, DecodeOptions(max_pixels=64_000)).pixels.shape == (200, 320, 3)
    for bad in (0, -1, 1.5, 10**9, True):
        with refused("max_pixels must be a whole number"):
            DecodeOptions(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(("options", "times"), [({}, 16), ({"progressive": True}, 4)])
def test_there_is_a_limit_for_jpegs_too(options: dict[str, bool], times: int) -> None:
    """A progressive one is held whole before it becomes smaller, so it may have fewer pixels."""
    data = encoded(PHOTO, "JPEG", **options)
    inside, outside = 64_000 // times + 1, 64_000 // times - 1
    assert decode_image(data, DecodeOptions(inside), needed=8).pixels.shape == (25, 40, 3)
    for function in (read_header, decode_image):
        with refused("Mpx >"):
            function(data, DecodeOptions(outside))


def test_a_photo_above_25_megapixels_has_the_hash_of_its_file() -> None:
    data = encoded(np.zeros((5001, 5000, 1), np.uint8), "JPEG")
    assert MAX_PIXELS < 5001 * 5000
    found = decode_image(data, needed=64)
    assert found.pixels.shape == (626, 625, 1)
    assert found.file_hash == hash_file(data)
    assert decode_image(data, DecodeOptions(30_000_000)).file_hash == found.file_hash  # whatever the limit
    assert decode_image(encoded(PHOTO, "JPEG"), SMALL, needed=50).file_hash is None
    with refused("25.005 Mpx > 25 Mpx"):
        decode_image(data, DecodeOptions(version=1), needed=64)
