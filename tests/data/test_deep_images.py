"""Images deeper than 8 bits and unusual TIFFs: read rightly, or refused for the right reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_deep import deep_png, deep_ppm, tiff
from made_images import encoded, refused
from numpy.typing import NDArray

from pocketlens.data.images import (
    BadImage,
    DecodeOptions,
    decode,
    decode_image,
    depth_note,
    read_header,
    read_image,
)

BEFORE = DecodeOptions(version=1)


def values(dtype: str, shape: tuple[int, ...] = (9, 7)) -> NDArray[Any]:
    """Random values over the whole range of a type."""
    rng = np.random.default_rng(0)
    if dtype.startswith("f"):
        return (rng.normal(0, 50, shape)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


COLOUR = values("u2", (9, 7, 3))
GREY = COLOUR[:, :, :1]
OPAQUE = np.full((9, 7, 1), 65535, np.uint16)


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (deep_png(COLOUR), "RGB;16"),
        (deep_png(np.concatenate([COLOUR, OPAQUE], axis=2)), "RGBA;16"),
        (deep_ppm(COLOUR), "RGB;16"),
        (tiff(COLOUR, "rgb"), "RGB;16"),
        (tiff(COLOUR, "rgb", byteorder=">"), "RGB;16"),
        (tiff(COLOUR, "rgb", compression="zlib"), "RGB;16"),
        (tiff(COLOUR, "rgb", compression="zlib", byteorder=">", predictor=True), "RGB;16"),
        (tiff(COLOUR, "rgb", tile=(16, 16)), "RGB;16"),
        (tiff(np.concatenate([COLOUR, OPAQUE], axis=2), "rgb", extrasamples=["unassalpha"]), "RGBA;16"),
        (tiff(COLOUR.transpose(2, 0, 1).copy(), "rgb", planarconfig="separate"), "RGB;uint16"),
        (tiff(COLOUR, planarconfig="contig"), "RGB;uint16"),
    ],
)
def test_colour_of_16_bits_keeps_its_depth(data: bytes, mode: str) -> None:
    header = read_header(data)
    assert (header.mode, header.deep, header.grey, header.is_cut) == (mode, True, False, False)
    assert (header.height, header.width) == (9, 7)
    pixels = decode(data)
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, COLOUR.astype(np.float32))


def test_grey_with_alpha_of_16_bits_keeps_its_depth() -> None:
    both = np.concatenate([GREY, OPAQUE], axis=2)
    for data in (deep_png(both), tiff(both, planarconfig="contig", extrasamples=["unassalpha"])):
        assert read_header(data).grey
        assert np.array_equal(decode(data), GREY.astype(np.float32))


def test_deep_transparency_is_laid_on_white() -> None:
    pixels = np.zeros((1, 3, 4), np.uint16)
    pixels[0, :, :3], pixels[0, :, 3] = 1000, (0, 32768, 65535)
    expected = [65535, round(500 + 32767.5), 1000]
    straight = [deep_png(pixels), tiff(pixels, "rgb", extrasamples=["unassalpha"])]
    multiplied = np.concatenate([pixels[:, :, :3] * (pixels[:, :, 3:] / 65535), pixels[:, :, 3:]], axis=2).astype("u2")
    for data in (*straight, tiff(multiplied, "rgb", extrasamples=["assocalpha"])):
        assert np.abs(decode(data)[0, :, 0] - expected).max() < 2


def test_ppm_of_12_bits_is_scaled_to_16_and_a_cut_one_is_refused() -> None:
    data = deep_ppm(COLOUR >> 4, 4095)
    assert np.allclose(decode(data), (COLOUR >> 4) * (65535 / 4095))
    plain = b"P3\n7 9\n# made\n65535\n" + b" ".join(b"%d" % value for value in COLOUR.reshape(-1))
    assert np.array_equal(decode(plain), COLOUR)
    for bad in (data[:-1], plain[: len(plain) // 2], data.replace(b"4095", b"1000")):
        with pytest.raises(BadImage):
            decode(bad)


def test_models_of_8_bit_images_get_the_upper_8_of_16() -> None:
    for data in (deep_png(COLOUR), tiff(COLOUR, "rgb"), deep_ppm(COLOUR)):
        options = DecodeOptions(deep_colour=False)
        header, found = read_header(data, options), read_image(data, channels=3)
        assert (header.deep, header.is_cut) == (False, True)
        assert np.abs(found.astype(int) - (COLOUR >> 8)).max() <= 1  # Pillow rounds a PPM
        assert "upper 8" in str(depth_note(header, None))
    scaled = read_image(tiff(COLOUR >> 4, "rgb"), channels=3, levels=(0.0, 4095.0))
    assert len(np.unique(scaled)) > 100  # the upper byte alone would leave 16 values


@pytest.mark.parametrize("options", [{}, {"byteorder": ">", "compression": "zlib"}], ids=["plain", "swapped"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u4", "u8", "f2", "f4", "f8"])
def test_a_tiff_of_any_numbers_keeps_its_values(dtype: str, options: dict[str, Any]) -> None:
    stored = values(dtype)
    data = tiff(stored, **options)
    header, pixels = read_header(data), decode(data)
    assert header.deep
    assert header.grey
    assert np.array_equal(pixels[:, :, 0], stored.astype(np.float32))
    assert pixels.max() > 0


@pytest.mark.parametrize("dtype", ["u1", "u4", "f2", "f4", "f8"])
def test_colour_of_any_numbers_keeps_its_values(dtype: str) -> None:
    stored = values(dtype, (9, 7, 3))
    for data in (tiff(stored, "rgb"), tiff(stored, planarconfig="contig")):
        assert read_header(data).deep == (dtype != "u1")
        assert np.array_equal(decode(data), stored.astype(np.float32))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits"])
def test_white_is_zero_is_turned_round_at_every_depth(compression: str | None) -> None:
    options = {"tiffinfo": {262: 0}} if compression is None else {"tiffinfo": {262: 0}, "compression": compression}
    assert np.array_equal(decode(encoded(GREY, "TIFF", **options)), 65535.0 - GREY)


@pytest.mark.parametrize(("dtype", "most"), [("u1", 255), ("u2", 65535), ("u4", 2**32 - 1), ("i2", 0), ("f8", 0)])
def test_white_is_zero_of_any_numbers(dtype: str, most: int) -> None:
    stored = values(dtype)
    found = decode(tiff(stored, "miniswhite"))[:, :, 0]
    assert np.allclose(found, most - stored.astype(np.float64), rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(np.zeros((9, 7, 5), np.uint8), planarconfig="contig"), "5 channels of 8 bits"),
        (tiff(np.zeros((5, 9, 7), np.uint16), planarconfig="separate"), "5 channels of 16 bits"),
        (tiff(np.zeros((9, 7, 2), np.uint16), planarconfig="contig"), "2 channels of 16 bits"),
        (tiff(np.zeros((9, 7, 4), np.float32), "rgb", extrasamples=["unassalpha"]), "of 32 bits of floating point"),
        (tiff(np.zeros((9, 7), np.complex64)), "1 channel of 64 bits of complex numbers"),
    ],
)
def test_other_tiffs_are_refused_for_what_they_are(data: bytes, reason: str) -> None:
    for function in (read_header, decode):
        with refused("a kind of TIFF that is not read (", reason):
            function(data)


def test_tiffs_of_their_own_reader_are_checked_like_all_others() -> None:
    data = tiff(values("f8"))
    for length in (len(data) - 1, len(data) // 2, 20):
        with pytest.raises(BadImage):
            decode(data[:length])
    holes = values("f8")
    holes[2, 2] = np.inf
    with refused("not finite"):
        decode(tiff(holes))
    with refused("Mpx >"):
        decode_image(data, DecodeOptions(max_pixels=50))
    turned = tiff(values("f8"), extratags=[(274, "H", 1, 6, True)])
    assert (read_header(turned).height, read_header(turned).width) == (7, 9)
    assert np.array_equal(decode(turned)[:, :, 0], np.rot90(values("f8").astype(np.float32), -1))


def test_damaged_files_never_raise_anything_else() -> None:
    rng, reasons = np.random.default_rng(1), []
    for data in (tiff(values("f8")), tiff(COLOUR, "rgb"), deep_png(COLOUR), deep_ppm(COLOUR)):
        for _ in range(150):
            damaged = bytearray(data)
            for place in rng.integers(0, min(len(data), 300), 3):
                damaged[place] = rng.integers(256)
            try:
                assert decode(bytes(damaged)).ndim == 3
            except BadImage as reason:
                reasons.append(str(reason))
    assert len(reasons) > 200
    assert all(reason.isprintable() for reason in reasons), reasons


def test_the_rules_of_before_read_what_they_read_then() -> None:
    for data in (deep_png(COLOUR), tiff(COLOUR, "rgb")):
        assert read_header(data, BEFORE).mode == "RGB"
        assert np.array_equal(decode_image(data, BEFORE).pixels, (COLOUR >> 8).astype(np.uint8))
    white = encoded(GREY, "TIFF", tiffinfo={262: 0})
    assert np.array_equal(decode_image(white, BEFORE).pixels, GREY)
    with refused("it is TIFF but cannot be read"):
        decode_image(tiff(values("f8")), BEFORE)


def test_another_depth_is_said() -> None:
    eight, deep = read_header(encoded(np.zeros((4, 4), np.uint8))), read_header(encoded(GREY))
    assert "8 bits" in str(depth_note(eight, (0.0, 4095.0)))
    assert depth_note(deep, (0.0, 4095.0)) is None
    assert depth_note(eight, None) is None
