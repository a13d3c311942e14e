"""The decoder: every mode by one rule, all orientations, and what is refused."""

from __future__ import annotations

import io
import resource
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from made_images import encoded, random_images, refused
from PIL import Image

from pocketlens.data.fit import fit_picture
from pocketlens.data.images import BadImage, decode, map_images, read_header, read_image, to_uint8


def bomb(side: int) -> bytes:
    """A PNG of side x side, 1 bit deep, that is a few kilobytes long."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    line = bytes(1 + (side + 7) // 8)
    data = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_pixels_back(kind: str) -> None:
    image = random_images(1, (9, 7, 3))[0]
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode(encoded(image, kind, **options)), image)


def test_grey_gif_and_jpeg_are_read() -> None:
    grey = random_images(1, (9, 7, 1))[0]
    assert np.array_equal(read_image(encoded(grey, "GIF"), channels=1), grey)
    flat = np.full((16, 16, 3), 77, np.uint8)
    assert np.abs(decode(encoded(flat, "JPEG")).astype(int) - 77).max() <= 1


@pytest.mark.parametrize(
    ("mode", "kind", "channels"),
    [
        ("1", "PNG", 1),
        ("L", "PNG", 1),
        ("LA", "PNG", 1),
        ("P", "PNG", 3),
        ("RGB", "PNG", 3),
        ("RGBA", "PNG", 3),
        ("CMYK", "TIFF", 3),
        ("YCbCr", "JPEG", 3),
    ],
)
def test_every_mode_has_its_channels(mode: str, kind: str, channels: int) -> None:
    data = encoded(random_images(1, (8, 8, 3))[0], kind, mode)
    assert decode(data).shape == (8, 8, channels)
    assert decode(data).dtype == np.uint8
    assert read_header(data).grey == (channels == 1)
    as_grey, as_colour = read_image(data, channels=1), read_image(data, channels=3)
    assert as_grey.shape == (8, 8, 1)
    assert as_colour.shape == (8, 8, 3)


def test_grey_by_luma_equals_pillow() -> None:
    image = random_images(1, (32, 32, 3))[0]
    expected = np.asarray(Image.fromarray(image).convert("L"))
    assert np.array_equal(read_image(encoded(image), channels=1)[:, :, 0], expected)


def test_transparency_is_laid_on_white() -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = (0, 128, 255)
    assert decode(encoded(pixels))[0, :, 0].tolist() == [255, 127, 0]
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putdata([0, 1])
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=0)
    assert decode(buffer.getvalue()).tolist() == [[[255, 255, 255], [0, 255, 0]]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_orientations_give_one_image(kind: str) -> None:
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[8:, :8], upright[:8, 16:] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
        data = encoded(np.ascontiguousarray(pixels), kind, exif=exif, **options)
        header = read_header(data)
        assert (header.height, header.width) == (16, 24), orientation
        assert decode(data).shape == (16, 24, 3)
        assert np.abs(decode(data)[4::8, 4::8].astype(int) - upright[4::8, 4::8]).max() < 60, orientation


def test_a_16_bit_ramp_keeps_256_values() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for data in (encoded(ramp), encoded(ramp, "TIFF")):
        assert read_header(data).deep
        pixels = decode(data)
        assert pixels.dtype == np.float32
        assert (pixels.min(), pixels.max()) == (0, 65535)
        scaled = to_uint8(pixels, (0.0, 65535.0))
        assert len(np.unique(scaled)) == 256
        assert np.array_equal(scaled[:, :, 0], np.rint(ramp / 257).astype(np.uint8))
        with refused("do not fit into 8 bits"):
            read_image(data, channels=1)


def test_float_tiff_is_scaled_and_nan_is_refused() -> None:
    values = np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16)
    assert len(np.unique(read_image(encoded(values, "TIFF"), channels=1, levels=(-1.0, 1.0)))) == 256
    values[3, 3] = np.nan
    with refused("not finite"):
        decode(encoded(values, "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)).convert("RGB") for value in (0, 255)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    assert read_header(buffer.getvalue()).animated
    assert decode(buffer.getvalue()).max() < 10


def corpus() -> dict[str, bytes]:
    """Twelve files that must be found bad."""
    image = random_images(1, (32, 32, 3))[0]
    png, jpeg = encoded(image), encoded(image, "JPEG")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 4
    return {
        "empty.png": b"",
        "text.jpg": b"this is not an image\n" * 20,
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut.png": png[: len(png) // 2],
        "cut.webp": (data := encoded(image, "WEBP"))[: len(data) // 2],
        "cut.bmp": (data := encoded(image, "BMP"))[: len(data) // 2],
        "cut.gif": (data := encoded(image, "GIF"))[: len(data) // 2],
        "cut.tif": (data := encoded(image, "TIFF"))[: len(data) // 2],
        "cut.ppm": (data := encoded(image, "PPM"))[: len(data) // 2],
        "flip.png": bytes(flipped),
        "zeros.png": bytes(1000),
        "header.png": png[:40],
    }


@pytest.mark.parametrize("name", sorted(corpus()))
def test_damaged_files_are_refused(name: str) -> None:
    with pytest.raises(BadImage) as caught:
        decode(corpus()[name])
    assert str(caught.value).isprintable()


def test_every_flipped_bit_of_a_png_is_found() -> None:
    png = encoded(random_images(1, (9, 7, 3))[0])
    for place in range(len(png) - 12):  # the last 12 bytes mark the end and hold nothing
        for bit in (0, 5):
            damaged = bytearray(png)
            damaged[place] ^= 1 << bit
            with pytest.raises(BadImage):
                decode(bytes(damaged))


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(300),
        b"SIMPLE  =                    T" + b" " * 2850,
        b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"></svg>',
    ],
    ids=["eps", "psd", "fits", "svg"],
)
def test_other_formats_are_refused(data: bytes) -> None:
    with refused("not one of PNG, JPEG"):
        read_header(data)


@pytest.mark.parametrize(("side", "megapixels"), [(20_000, "400"), (12_000, "144"), (9_000, "81")])
def test_bombs_are_refused_before_decoding(side: int, megapixels: str) -> None:
    data = bomb(side)
    assert len(data) < 60_000
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for function in (read_header, decode):
        with refused(f"{megapixels} Mpx > 25 Mpx"):
            function(data)
    assert time.process_time() - start < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_map_images_keeps_order_and_reports_bad_ones(tmp_path: Path) -> None:
    images = random_images(700, (4, 4, 3))
    sources: list[Path | bytes] = [encoded(image) for image in images]
    sources[3] = b"nothing"
    sources[600] = tmp_path / "absent.png"
    (tmp_path / "here.png").write_bytes(encoded(images[5]))
    sources[5] = tmp_path / "here.png"
    results = list(map_images(decode, sources, 64))
    assert [row for row, result in enumerate(results) if isinstance(result, BadImage)] == [3, 600]
    for row, result in enumerate(results):
        if not isinstance(result, BadImage):
            assert np.array_equal(result, images[row])


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5000, 1), (31, 17, 3), (64, 48, 1)])
def test_resize_middle_takes_the_centre(shape: tuple[int, int, int]) -> None:
    pixels = np.full(shape, 200, np.uint8)
    assert fit_picture(pixels, 16, 16).shape == (16, 16, shape[2])
    assert (fit_picture(pixels, 16, 16) == 200).all()
    wide = np.zeros((10, 30, 1), np.uint8)
    wide[:, 10:20] = 255
    assert (fit_picture(wide, 10, 10) == 255).all()
