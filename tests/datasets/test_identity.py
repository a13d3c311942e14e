"""An image's identity: the same test rows, split and ledger at every size, fit and level."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_images import class_folder, encoded, random_images
from PIL import Image

from pocketlens.data.dataset import Dataset, hash_images, images_fingerprint
from pocketlens.data.fit import fit_image, fit_picture
from pocketlens.data.identity import hash_image, hash_pixels
from pocketlens.data.images import as_plain, decode, decoded, to_channels
from pocketlens.data.split import hold_out_test, make_split
from pocketlens.datasets import load

SHAPES = ((14, 30, 3), (20, 20, 3), (33, 17, 3), (11, 40, 1))
TEXTS = [
    *(f"folder({{!r}}, size={size})" for size in (8, 12, 16, 24, 40)),
    *(f"folder({{!r}}, size=16, fit={fit!r})" for fit in ("crop", "stretch", "pad")),
    "folder({!r})",
]


def mixed_folder(root: Path, n: int = 25) -> Path:
    """Two classes of pictures of four shapes, grey ones among them."""
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = random_images(1, SHAPES[i % len(SHAPES)], seed=100 * number + i)[0]
            (root / name / f"{i:03}.png").write_bytes(encoded(pixels))
    return root


def test_the_test_files_are_the_same_at_five_sizes_and_three_fits(tmp_path: Path) -> None:
    root = mixed_folder(tmp_path / "photos")
    found = [load(text.format(str(root))) for text in TEXTS]
    shapes = {dataset.shape for dataset, _ in found}
    assert len(shapes) >= 5
    first, first_test = found[0]
    assert len(first_test) == 10
    for dataset, test in found[1:]:
        assert dataset.files == first.files
        assert np.array_equal(dataset.hashes, first.hashes)
        assert (dataset.fingerprint, test.fingerprint) == (first.fingerprint, first_test.fingerprint)
        assert np.array_equal(make_split(dataset).val, make_split(first).val)
    stretched = next(dataset for (dataset, _), text in zip(found, TEXTS, strict=True) if "stretch" in text)
    cropped = next(dataset for (dataset, _), text in zip(found, TEXTS, strict=True) if "'crop'" in text)
    assert not np.array_equal(stretched.images, cropped.images)  # only what is trained on differs


def test_images_that_keep_their_size_have_the_hash_that_they_had(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "photos", {"cat": 10, "dog": 10})
    dataset, test = load(str(root))
    assert np.array_equal(dataset.hashes, hash_images(dataset.images))
    before, before_test = load(str(root), version=1)
    assert before.fingerprint == dataset.fingerprint
    assert before_test.fingerprint == test.fingerprint
    smaller, smaller_test = load(f"folder({str(root)!r}, size=4)")
    assert (smaller.fingerprint, smaller_test.fingerprint) == (dataset.fingerprint, test.fingerprint)
    assert smaller.shape == (4, 4, 3)


def test_version_1_is_what_was_done_before(tmp_path: Path) -> None:
    """The pixels after resizing decided what was held out."""
    root = mixed_folder(tmp_path / "photos")
    for size in (8, 16):
        dataset, test = load(f"folder({str(root)!r}, size={size})", version=1)
        images = np.concatenate([dataset.images, *test.images_without_labels()])
        hashes = hash_images(images)
        assert np.array_equal(hashes, np.concatenate([dataset.hashes, test.hashes]))
        assert test.fingerprint == images_fingerprint(test.hashes)
        labels = np.array([int(str(name).startswith("dog")) for name in dataset.files or ()], np.int64)
        assert np.array_equal(dataset.labels, labels)
        now, _ = load(f"folder({str(root)!r}, size={size})")
        assert now.files != dataset.files
        names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
        whole = np.stack([_central(root / name, size) for name in names])
        y = np.array([int(name.startswith("dog")) for name in names], np.int64)
        held = hold_out_test(hash_images(whole), {"labels": y}, ("cat", "dog"), 1)
        assert [name for name, is_held in zip(names, held, strict=True) if not is_held] == list(dataset.files or ())


def _central(path: Path, size: int) -> np.ndarray:
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    middle = image.crop((left, top, left + side, top + side))
    return np.asarray(middle if middle.size == (size, size) else middle.resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("version", [1, 2])
def test_deep_images_have_one_identity_whatever_their_levels(version: int, tmp_path: Path) -> None:
    """A picture that is added with a higher value changes the levels, and nothing else."""
    random = np.random.default_rng(0)
    pixels = random.integers(300, 1300, (30, 12, 12)).astype(np.uint16)
    for i, image in enumerate(pixels):
        folder = tmp_path / "scans" / ("a" if i % 2 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:02}.png")
    text = f"folder({str(tmp_path / 'scans')!r})"
    before, before_test = load(text, version=version)
    for size in (6, 9):
        sized, sized_test = load(text.replace(")", f", size={size})"), version=version)
        assert sized.files == before.files  # the unscaled values decided before, too
        same = (sized.fingerprint, sized_test.fingerprint) == (before.fingerprint, before_test.fingerprint)
        assert same is (version == 2)
    if version == 2:
        assert bytes(before.hashes[0]) == hash_pixels(pixels[int(str((before.files or ())[0])[2:4])][:, :, None])
    kept = {name: bytes(row) for name, row in zip(before.files or (), before.hashes, strict=True)}
    bright = pixels[0].copy()
    bright[0, 0] = 60_000
    Image.fromarray(bright).save(tmp_path / "scans" / "a" / "99.png")
    after, _ = load(text, version=version)
    shared = {name: bytes(row) for name, row in zip(after.files or (), after.hashes, strict=True) if name in kept}
    assert (before.levels != after.levels) == ("a/99.png" in (after.files or ()))
    assert version == 1 or shared == {name: kept[name] for name in shared}


def test_equal_values_are_equal_images_whatever_holds_them(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 2000, (9, 7, 1))
    assert hash_pixels(values.astype(np.uint16)) == hash_pixels(values.astype(np.float32))
    eight = random_images(1, (9, 7, 1))[0]
    assert hash_pixels(eight) == bytes(hash_images(eight[None])[0])
    assert hash_pixels(eight) != hash_pixels(eight.astype(np.uint16))  # 8 bits of one range, 16 of another
    assert hash_pixels(eight) != hash_pixels(eight.reshape(7, 9, 1))


def test_parquet_and_folder_have_the_same_identity(tmp_path: Path) -> None:
    root = mixed_folder(tmp_path / "photos")
    files = sorted(root.rglob("*.png"))
    labels = [int(path.parent.name == "dog") for path in files]
    pq.write_table(pa.table({"image": [path.read_bytes() for path in files], "label": labels}), tmp_path / "a.parquet")
    dataset, test = load(f"folder({str(root)!r}, size=10)")
    for fit in ("crop", "stretch", "pad"):
        other, other_test = load(f"parquet({str(tmp_path / 'a.parquet')!r}, size=24, fit={fit!r})")
        assert np.array_equal(other.hashes, dataset.hashes)
        assert other_test.fingerprint == test.fingerprint


def test_equal_source_pixels_stay_together_and_equal_thumbnails_do_not(tmp_path: Path) -> None:
    """Two photos that look the same when they are small are two photos; the same pixels in two files are one."""
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(10):
            flat = np.full((16, 16, 3), 10 * i + (5 if name == "dog" else 0), np.uint8)
            (root / name / f"{i}.png").write_bytes(encoded(flat))
            flat[0, 0] = 255
            (root / name / f"{i}-other.png").write_bytes(encoded(flat))
            (root / name / f"{i}-copy.bmp").write_bytes(encoded(flat, "BMP"))
    dataset, test = load(f"folder({str(root)!r}, size=1)")
    hashes = np.concatenate([dataset.hashes, test.hashes])
    assert len(np.unique(hashes, axis=0)) == 40
    assert not any("equal in every pixel" in note for note in dataset.notes)
    assert not {bytes(row) for row in dataset.hashes} & {bytes(row) for row in test.hashes}


def test_npz_keeps_its_fingerprint(tmp_path: Path) -> None:
    images, labels = random_images(40), np.arange(40) % 2
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    now, before = (load(str(tmp_path / "a.npz"), version=version) for version in (2, 1))
    assert now[1].fingerprint == before[1].fingerprint
    assert (now[0].hold_out, before[0].hold_out) == (2, 1)


def test_the_identity_does_not_depend_on_how_a_file_was_compressed(tmp_path: Path) -> None:
    picture = Image.fromarray(random_images(1, (40, 60, 3))[0])
    data = [io.BytesIO() for _ in range(2)]
    for level, buffer in zip((1, 9), data, strict=True):
        picture.save(buffer, "PNG", compress_level=level)
    found: list[Dataset] = []
    for number, buffer in enumerate(data):
        root = class_folder(tmp_path / str(number), {"cat": 6, "dog": 6}, (40, 60, 3))
        (root / "cat" / "more.png").write_bytes(buffer.getvalue())
        found.append(load(f"folder({str(root)!r}, size=8)")[0])
    assert found[0].fingerprint == found[1].fingerprint


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_photo_that_is_resized_at_once_is_what_it_would_be_step_by_step(
    mode: str, orientation: int, tmp_path: Path
) -> None:
    image = Image.fromarray(random_images(1, (37, 61, 3))[0]).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=95)
    source, channels = buffer.getvalue(), len(mode)
    pixels = to_channels(decode(source), channels)
    with decoded(source) as opened:
        plain = as_plain(opened, channels)
        assert plain is not None
        assert hash_image(plain) == hash_pixels(pixels)
        for fit in ("crop", "stretch", "pad"):
            for shape in ((16, 16), (20, 12), (80, 80)):
                assert np.array_equal(fit_image(plain, *shape, fit), fit_picture(pixels, *shape, fit))
