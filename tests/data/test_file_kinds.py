"""Files are told by their content; those that are not read are named with what to do about them."""

from __future__ import annotations

import io
import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from made_deep import deep_png, tiff
from made_images import encoded, random_images, refused
from PIL import Image

from pocketlens.data import file_kinds
from pocketlens.data.file_kinds import N_HEAD, formats, kind_of, reads
from pocketlens.data.images import SUFFIXES, DecodeOptions, decode, decode_image, read_header
from pocketlens.data.sources.other_files import file_kind, image_names, other_files, suffix_of
from pocketlens.data.sources.tree import scan

PICTURE = random_images(1, (24, 16, 3))[0]
HEIC_HEAD = b"\0\0\0\x18ftypheic" + bytes(100)
MIF_HEAD = b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf" + bytes(100)
DICOM = bytes(128) + b"DICM" + bytes(100)
optional = [name for name in ("AVIF", "JPEG2000") if name in formats()]


def test_every_format_is_told_by_its_first_bytes() -> None:
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", *optional):
        assert kind_of(encoded(PICTURE, kind)[:N_HEAD]) == kind
    assert kind_of(tiff(np.zeros((3, 3), "f8"), bigtiff=True)[:N_HEAD]) == "TIFF"
    assert kind_of(tiff(np.zeros((3, 3), "f8"), byteorder=">")[:N_HEAD]) == "TIFF"
    assert kind_of(HEIC_HEAD) == kind_of(MIF_HEAD) == "HEIC"
    assert kind_of(MIF_HEAD.replace(b"heic", b"avif")) == "AVIF"
    assert kind_of(DICOM) == "DICOM"
    for data in (b"", b"BM of text", b"P5", b"Prose", b"hello", bytes(200), b"\0\0\0\x18ftypmp42" + bytes(50)):
        assert kind_of(data) is None


@pytest.mark.parametrize("kind", optional)
def test_avif_and_jpeg_2000_are_read_whatever_their_name(kind: str, tmp_path: Path) -> None:
    flat = np.full((24, 16, 3), 90, np.uint8)
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(flat, kind))
    assert (read_header(path).height, read_header(path).width) == (24, 16)
    assert np.abs(decode(path).astype(int) - 90).max() <= 2
    with refused(f"it is {kind} but cannot be read"):
        decode_image(path, DecodeOptions(version=1))


def test_grey_jpeg_2000_of_16_bits_keeps_its_depth() -> None:
    if "JPEG2000" not in formats():
        pytest.skip("this Pillow does not read JPEG 2000")
    grey = np.random.default_rng(0).integers(0, 65536, (9, 7)).astype(np.uint16)
    data = encoded(grey, "JPEG2000", irreversible=False)
    assert read_header(data).deep
    assert np.array_equal(decode(data)[:, :, 0], grey)


def test_heic_is_read_where_its_package_is_installed_and_where_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    flat = Image.fromarray(np.full((48, 64, 3), 90, np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    pillow_heif.from_pillow(flat).save(buffer, exif=exif.tobytes())
    data = buffer.getvalue()
    header, pixels = read_header(data), decode(data)
    assert pixels.shape == (header.height, header.width, 3)
    assert np.abs(pixels.astype(int) - 90).max() <= 2
    with pytest.raises(file_kinds.BadImage, match="cannot be"):
        decode(data[: len(data) // 2])
    with refused("start the server with --heic"):
        decode_image(data, DecodeOptions(heic=False))
    with refused("Mpx >"):
        decode_image(data, DecodeOptions(max_pixels=1000))
    monkeypatch.setattr("pocketlens.data.images.reads_heic", lambda: False)
    monkeypatch.setattr("pocketlens.data.file_kinds.reads_heic", lambda: False)
    with refused('it is HEIC; to read it: pip install "pocketlens[formats]"'):
        decode(data)


def test_what_is_no_image_is_named() -> None:
    for data, name in ((DICOM, "DICOM"), (b"%PDF-1.7" + bytes(200), "PDF"), (b"8BPS" + bytes(200), "PSD")):
        with refused(f"it is {name}, not one of PNG, JPEG"):
            read_header(data)
    with refused("it is PNG but cannot be read"):
        read_header(b"\x89PNG\r\n\x1a\n" + bytes(50))


def test_a_folder_takes_images_by_content_where_the_name_says_nothing(tmp_path: Path) -> None:
    files = {
        "a.png": encoded(PICTURE),
        "no_suffix": encoded(PICTURE, "JPEG"),
        "photo.jpg!large": encoded(PICTURE, "JPEG"),
        "scan.image": deep_png(np.zeros((4, 4, 3), np.uint16)),
        "broken.png": b"text",  # by its name it should be an image, so it is one that cannot be read
        "notes.txt": encoded(PICTURE),
        "photo.jpg.part": encoded(PICTURE, "JPEG"),
        "raw.NEF": tiff(np.zeros((4, 4), np.uint8)),
        "words": b"some words",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = scan(tmp_path, suffixes=SUFFIXES)
    assert found.names == ("a.png", "broken.png", "no_suffix", "photo.jpg!large", "scan.image")
    assert "1 file ends in .NEF (export them as JPEG or TIFF first) and was ignored" in found.notes
    assert "1 file ends in .txt and was ignored" in found.notes
    assert "1 file has no suffix and is no image and was ignored" in found.notes
    before = scan(tmp_path, suffixes=SUFFIXES, by_content=False)
    assert before.names == ("a.png", "broken.png")


def test_known_names_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.JPG", "c.csv", "d.cr2"):
        (tmp_path / name).write_bytes(b"")

    def never(*_: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", never)
    assert scan(tmp_path, suffixes=SUFFIXES).names == ("a.png", "b.JPG")


def test_ignored_files_are_counted_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_kinds, "reads_heic", lambda: False)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "deep" / f"{i}.HEIC").write_bytes(HEIC_HEAD)
        (tmp_path / "deep" / "er" / f"{i}.dcm").write_bytes(DICOM)
        (tmp_path / "deep" / "er" / f"{i}").write_bytes(DICOM)
        (tmp_path / f"{i}.log").write_bytes(b"x")
    (tmp_path / "4.heic").write_bytes(HEIC_HEAD)
    (tmp_path / ".hidden.dcm").write_bytes(DICOM)
    text = other_files(tmp_path, SUFFIXES)
    assert '4 files end in .HEIC (to read them: pip install "pocketlens[formats]")' in text
    assert "3 files end in .dcm (convert them to 16-bit PNG or TIFF first)" in text
    assert "3 files are DICOM (convert them" in text
    assert text.endswith("3 files end in .log")
    assert other_files(tmp_path / "absent", SUFFIXES) == ""
    assert not file_kind(tmp_path / "4.heic", SUFFIXES).is_image
    assert not reads("HEIC")


def test_names_are_shown_safely(tmp_path: Path) -> None:
    (tmp_path / "a.x\x1b[2J").write_bytes(b"x")
    (tmp_path / os.fsdecode(b"a.\xff")).write_bytes(b"x")
    text = other_files(tmp_path, SUFFIXES)
    assert text.isprintable()
    assert "\\xff" in text


def test_the_images_of_a_listing_are_told_by_content_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, data in (("a/1", encoded(PICTURE)), ("a/2.png", b""), ("a/3", b"text"), ("4.avif", b"text")):
        (tmp_path / name).write_bytes(data)
    assert image_names(tmp_path, ["a/", "a/1", "a/2.png", "a/3", "4.avif"], SUFFIXES) == {"a/1", "a/2.png"}


@pytest.mark.parametrize("name", ["a.b", ".x", "a.", "a.b.C", "x/y.z", "x.y/z", "a..b", "plain", "ö.JPG", "a b.png"])
def test_the_suffix_of_a_name_is_that_of_its_path(name: str) -> None:
    assert suffix_of(name) == PurePosixPath(name).suffix
