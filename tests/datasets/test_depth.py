"""Data sets of deep images, large photos and files of other kinds: what becomes of them, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_deep import deep_png, tiff
from made_images import encoded, random_images, refused
from numpy.typing import NDArray

from pocketlens.data import file_kinds
from pocketlens.data.images import read_header
from pocketlens.datasets import load
from pocketlens.datasets._notes import depth_notes


def values(n: int = 120, shape: tuple[int, ...] = (12, 12, 1), low: int = 300, high: int = 1300) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(low, high, (n, *shape), endpoint=True).astype(np.uint16)


def deep_folder(root: Path, pixels: NDArray[np.uint16]) -> str:
    """TIFFs of two classes."""
    for i, image in enumerate(pixels):
        folder = root / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        kind = "rgb" if image.shape[2] == 3 else "minisblack"
        (folder / f"{i:03}.tif").write_bytes(tiff(image if kind == "rgb" else image[:, :, 0], kind))
    return str(root)


def test_three_stuck_pixels_in_120_images_do_not_matter(tmp_path: Path) -> None:
    clean, spoiled = values(), values()
    spoiled[[3, 17, 29, 40, 58, 77], 5, 7] = 65535
    first, _ = load(deep_folder(tmp_path / "clean", clean))
    second, _ = load(deep_folder(tmp_path / "spoiled", spoiled))
    assert first.levels == (300.0, 1300.0)
    assert second.levels == (300.0, 1300.0)
    assert len(np.unique(second.images)) == 256
    assert any("300 became 0 and 1300 became 255; 0.0" in note and "up to 65535" in note for note in second.notes)
    assert not any("clipped" in note for note in first.notes)


def test_runs_of_before_keep_the_range_of_all_values(tmp_path: Path) -> None:
    spoiled = values()
    spoiled[:, 5, 7] = 65535
    dataset, _ = load(deep_folder(tmp_path, spoiled), version=1)
    assert dataset.levels == (300.0, 65535.0)


def test_levels_come_from_the_training_rows_alone(tmp_path: Path) -> None:
    text = deep_folder(tmp_path / "train", values(40))
    deep_folder(tmp_path / "test", values(40, high=40_000))
    dataset, test = load(str(Path(text).parent))
    assert dataset.levels == (300.0, 1300.0)
    assert np.concatenate(list(test.images_without_labels())).max() == 255


@pytest.mark.parametrize("version", [1, 2])
def test_colour_of_12_bits_in_16_keeps_its_depth(version: int, tmp_path: Path) -> None:
    dataset, _ = load(deep_folder(tmp_path, values(40, (12, 12, 3), 0, 4095)), version=version)
    assert dataset.shape == (12, 12, 3)
    assert (dataset.levels == (0.0, 4095.0)) is (version == 2)
    assert len(np.unique(dataset.images)) == (256 if version == 2 else 16)
    assert any("the upper 8 are read" in note for note in dataset.notes) is (version == 1)


def test_mixed_depths_are_said(tmp_path: Path) -> None:
    text = deep_folder(tmp_path, values(20))
    for i, image in enumerate(random_images(6, (12, 12, 1))):
        (tmp_path / "a" / f"x{i}.png").write_bytes(encoded(image))
    dataset, _ = load(text)
    assert any("the depths are mixed: 6 images of 8 bits keep their values, 20 have more" in n for n in dataset.notes)
    assert not any("several modes" in note for note in dataset.notes), "grey all of them: said once"


def test_data_of_another_depth_than_a_models_is_said() -> None:
    eight, deep = read_header(encoded(random_images(1)[0])), read_header(tiff(values(1)[0, :, :, 0]))
    assert depth_notes([eight, eight, deep], (0.0, 4095.0)) == (
        "2 of 3 images: it has 8 bits, but the model was trained on deeper images",
    )
    assert depth_notes([eight], None) == depth_notes([deep], (0.0, 1.0)) == ()


def test_channels_that_are_not_read_are_said(tmp_path: Path) -> None:
    for i in range(8):
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        data = tiff(random_images(1, (6, 6, 4), i)[0], "rgb", extrasamples=["unspecified"])
        (folder / f"{i}.tif").write_bytes(data)
    dataset, _ = load(str(tmp_path))
    assert dataset.shape == (6, 6, 3)
    assert "8 images have further channels beside grey or colour, which are not read" in dataset.notes


def large_photos(root: Path) -> str:
    """Six grey JPEGs of 25.005 megapixels."""
    ramp = np.linspace(0, 90, 5001)[:, None, None] + np.zeros((1, 5000, 1))
    for i in range(6):
        (root / "ab"[i % 2]).mkdir(exist_ok=True)
        (root / "ab"[i % 2] / f"{i}.jpg").write_bytes(encoded((ramp + 10 * i).astype(np.uint8), "JPEG"))
    return str(root)


@pytest.mark.slow
def test_large_photos_are_decoded_smaller_and_keep_their_identity(tmp_path: Path) -> None:
    root = large_photos(tmp_path)
    small, small_test = load(f"folder({root!r}, size=16)")
    for options in ("size=400", "size=16, max_pixels=26_000_000"):
        other, other_test = load(f"folder({root!r}, {options})")
        assert other.files == small.files
        assert np.array_equal(other.hashes, small.hashes)
        assert other_test.fingerprint == small_test.fingerprint
    assert np.abs(other.images.astype(int) - small.images).max() <= 1


def test_large_photos_that_cannot_be_smaller_say_what_to_type(tmp_path: Path) -> None:
    root = large_photos(tmp_path)
    text = f"folder(path={root!r}, size=3000"
    with refused("6 of 6 images cannot be read", "25.005 Mpx > 25 Mpx", f'give "{text}, max_pixels=26000000)"'):
        load(f"folder({root!r}, size=3000)")
    for bad in (0, 24_000_000, 10**9):
        with refused("max_pixels must be a whole number of pixels, 25000000 to 178000000"):
            load(f"folder({root!r}, max_pixels={bad})")


def test_a_folder_of_ignored_files_names_them_and_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_kinds, "reads_heic", lambda: False)
    for i in range(36):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "a" / "x.dcm").write_bytes(bytes(128) + b"DICM")
    remedies = '36 files end in .HEIC (to read them: pip install "pocketlens[formats]")', "1 file ends in .dcm (convert"
    with refused("must hold at least one image", *remedies):
        load(str(tmp_path))
    for name in ("c", "d"):
        (tmp_path / name).mkdir()
        for i, image in enumerate(random_images(5, (6, 6, 3))):
            (tmp_path / name / f"{i}.png").write_bytes(encoded(image))
    dataset, _ = load(str(tmp_path))
    assert any("class folders have no images: a (18 files end in .HEIC" in note for note in dataset.notes)
    assert f"{remedies[0]} and were ignored" in dataset.notes


def test_a_folder_of_images_by_content_is_loaded(tmp_path: Path) -> None:
    for i, image in enumerate(random_images(12, (6, 6, 3))):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"image{i}").write_bytes(encoded(image))
    dataset, test = load(str(tmp_path))
    assert len(dataset) + len(test) == 12


def test_bad_images_are_named_by_their_reason(tmp_path: Path) -> None:
    for i, image in enumerate(random_images(6, (6, 6, 3))):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.png").write_bytes(encoded(image))
    for i in range(3):
        (tmp_path / "a" / f"five{i}.tif").write_bytes(tiff(np.zeros((5, 6, 6), np.uint8), planarconfig="separate"))
    (tmp_path / "b" / "deep.png").write_bytes(deep_png(values(1, (6, 6, 3))[0])[:-30])
    with refused(
        "4 of 10 images cannot be read: a/five0.tif, a/five1.tif, a/five2.tif "
        "(each: a kind of TIFF that is not read (5 channels of 8 bits)); b/deep.png (",
        f"skip them with \"folder(path={str(tmp_path)!r}, bad='skip')\"",
    ):
        load(str(tmp_path))
    dataset, test = load(f"folder({str(tmp_path)!r}, bad='skip')")
    assert len(dataset) + len(test) == 6
