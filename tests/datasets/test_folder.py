"""A folder of images: layouts, junk, links, odd names, bad files, mixed kinds and sizes."""

from __future__ import annotations

import io
import os
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_images import class_folder, encoded, random_images, refused
from test_images import corpus

from pocketlens.data.sources.tree import scan
from pocketlens.datasets import load

COUNTS = {"cat": 10, "dog": 10}


def everything(dataset, test):  # type: ignore[no-untyped-def]
    return np.concatenate([dataset.images, *test.images_without_labels()])


def test_class_folders_give_labels_and_a_test_part_is_held_out(tmp_path: Path) -> None:
    root = class_folder(tmp_path, {"10": 10, "9": 10, "b": 10, "a": 10})
    dataset, test = load(str(root))
    assert dataset.classes == ("10", "9", "a", "b")
    assert (len(dataset), len(test)) == (32, 8)
    assert np.bincount(dataset.labels).tolist() == [8, 8, 8, 8]
    assert dataset.files is not None
    assert list(dataset.files) == sorted(dataset.files)
    for name, label, image in zip(dataset.files, dataset.labels, dataset.images, strict=True):
        assert dataset.classes[label] == name.split("/")[0]
        assert encoded(image) == (root / name).read_bytes()
    assert dataset.text == f"folder(path={str(root)!r})"
    again, _ = load(dataset.text)
    assert again.fingerprint == dataset.fingerprint


def test_whole_numbers_are_ordered_as_numbers(tmp_path: Path) -> None:
    assert load(str(class_folder(tmp_path, {"10": 2, "9": 2, "0": 2})))[0].classes == ("0", "9", "10")


def test_the_held_out_rows_depend_on_images_alone(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "a", COUNTS)
    _, first = load(str(root))
    for i, path in enumerate(sorted(root.rglob("*.png"))):
        path.rename(path.with_name(f"{(i * 7) % 20:03}-renamed.png"))
    _, second = load(str(root))
    assert first.fingerprint == second.fingerprint


def test_train_and_test_folders(tmp_path: Path) -> None:
    class_folder(tmp_path / "train", COUNTS, seed=1)
    class_folder(tmp_path / "val", {"cat": 2, "dog": 2}, seed=2)
    class_folder(tmp_path / "test", {"cat": 3, "dog": 4}, seed=3)
    dataset, test = load(str(tmp_path))
    assert (len(dataset), len(test)) == (24, 7)
    assert any("val/" in note for note in dataset.notes)
    other, other_test = load(f"folder('{tmp_path / 'train'}', test='{tmp_path / 'test'}')")
    assert (len(other), other_test.fingerprint) == (20, test.fingerprint)


def test_a_class_only_in_test_is_named_and_one_absent_there_is_noted(tmp_path: Path) -> None:
    class_folder(tmp_path / "train", {**COUNTS, "eel": 3, "fox": 0}, seed=1)
    class_folder(tmp_path / "test", {"cat": 3, "dog": 3}, seed=2)
    dataset, _ = load(str(tmp_path))
    assert dataset.classes == ("cat", "dog", "eel", "fox")
    assert any("eel" in note and "no test images" in note for note in dataset.notes)
    assert any("fox" in note and "has no images" in note for note in dataset.notes)
    assert np.bincount(dataset.labels, minlength=4).tolist() == [10, 10, 3, 0]
    class_folder(tmp_path / "test", {"fox": 1, "gnu": 1}, seed=3)
    with refused("only the test set has fox, gnu"):
        load(str(tmp_path))


def test_a_csv_gives_labels_and_groups(tmp_path: Path) -> None:
    images = class_folder(tmp_path / "images", {"": 30})
    rows = [f"{i:03}.png,{'even' if i % 2 == 0 else 'odd'},slide{i // 3}" for i in reversed(range(30))]
    (images / "labels.csv").write_text("\ufefffile,label,slide\n" + "\n".join(rows) + "\n", encoding="utf-8")
    dataset, test = load(f"folder('{images}', labels='labels.csv', group='slide')")
    assert dataset.classes == ("even", "odd")
    assert dataset.files is not None
    assert dataset.groups is not None
    assert list(dataset.files) == sorted(dataset.files, reverse=True)
    slides = {int(name[:3]) // 3 for name in dataset.files}
    assert len(slides) * 3 == len(dataset)
    assert len(np.unique(dataset.groups)) == len(slides)
    assert len(dataset) + len(test) == 30
    assert all(
        (int(name[:3]) % 2 == 1) == (label == 1) for name, label in zip(dataset.files, dataset.labels, strict=True)
    )


BAD_TABLES = {
    "no file column": ("a,label,slide\nx.png,1,1\n", "a column that names the images"),
    "no label column": ("file,slide\n000.png,1\n", "a column of labels"),
    "no group": ("file,label\n000.png,1\n", "no column 'slide'"),
    "empty label": ("file,label,slide\n000.png,,1\n", "line 2"),
    "short row": ("file,label,slide\n000.png,1\n", "line 2"),
    "twice": ("file,label,slide\n000.png,1,1\n000.png,2,1\n", "in several rows that differ in them, of 1: 000.png"),
    "absent": ("file,label,slide\n000.png,1,1\nzzz.png,2,1\n", "1 of 2 are missing: zzz.png"),
    "outside": ("file,label,slide\n../x.png,1,1\n", "1 of 1 are missing: ../x.png"),
    "absolute": ("file,label,slide\n/etc/passwd,1,1\n", "1 of 1 are missing: /etc/passwd"),
    "no rows": ("file,label,slide\n", "at least one row"),
    "quotes": ('file,label,slide\n"000.png,1,1\n', "line 2: this is not CSV"),
}


@pytest.mark.parametrize("case", sorted(BAD_TABLES))
def test_bad_tables_are_refused(tmp_path: Path, case: str) -> None:
    text, part = BAD_TABLES[case]
    class_folder(tmp_path, {"": 3})
    (tmp_path / "labels.csv").write_text(text)
    with refused(part):
        load(f"folder('{tmp_path}', labels='labels.csv', group='slide')")


def test_a_group_in_both_parts_is_refused(tmp_path: Path) -> None:
    class_folder(tmp_path, {"": 4})
    (tmp_path / "a.csv").write_text("file,label,slide\n000.png,x,1\n001.png,y,2\n")
    (tmp_path / "b.csv").write_text("file,label,slide\n002.png,x,2\n003.png,y,3\n")
    with refused("a group must not be in both", "1 are: 2"):
        load(f"folder('{tmp_path}', labels='a.csv', test='b.csv', group='slide')")
    with refused("2 tables", f"\"folder(path={str(tmp_path)!r}, group='slide', labels='a.csv')\""):
        load(f"folder('{tmp_path}', group='slide')")
    class_folder(tmp_path / "classes", COUNTS)
    with refused("labels must be given"):
        load(f"folder('{tmp_path / 'classes'}', group='slide')")


def test_junk_is_ignored_and_counted(tmp_path: Path) -> None:
    root = class_folder(tmp_path, COUNTS)
    for folder in (".ipynb_checkpoints", "__MACOSX"):
        (root / folder).mkdir()
        (root / folder / "a.png").write_bytes(b"junk")
    for name in (".DS_Store", "Thumbs.db", "._a.png"):
        (root / "cat" / name).write_bytes(b"junk")
    (root / "cat" / "readme.txt").write_text("hello")
    (root / "beside.png").write_bytes(b"junk")
    os.mkfifo(root / "cat" / "pipe.png")
    dataset, test = load(str(root))
    assert len(dataset) + len(test) == 20
    assert "5 hidden or system files were ignored" in dataset.notes
    assert "1 file ends in .txt and was ignored" in dataset.notes
    assert "1 entry that is neither file nor folder was ignored" in dataset.notes
    assert "1 image outside the class folders was ignored" in dataset.notes


def test_links(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "root", COUNTS)
    outside = class_folder(tmp_path / "outside", {"more": 3}, seed=9)
    (root / "cat" / "loop").symlink_to(root)
    (root / "cat" / "self").symlink_to("self")
    with refused("cat/self", "follow=True"):
        load(str(root))
    (root / "cat" / "self").unlink()
    dataset, test = load(str(root))
    assert len(dataset) + len(test) == 20
    (root / "cat" / "out").symlink_to(outside / "more")
    (root / "dog" / "one.png").symlink_to(outside / "more" / "000.png")
    (root / "dog" / "gone.png").symlink_to(tmp_path / "nothing.png")
    with refused("cat/out", "dog/one.png", "dog/gone.png"):
        load(str(root))
    dataset, test = load(f"folder('{root}', follow=True)")
    assert len(dataset) + len(test) == 23  # dog/one.png and cat/out/000.png are one file
    assert any("leads to nothing" in note for note in dataset.notes)


def test_a_linked_file_counts_once(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "root", COUNTS)
    outside = class_folder(tmp_path / "outside", {"": 1}, seed=9)
    for name in ("a.png", "b.png"):
        (root / "cat" / name).symlink_to(outside / "000.png")
    assert len(scan(root, suffixes=frozenset([".png"]), follow=True).paths) == 21


ODD_NAMES = [
    "ünïcode.png",
    unicodedata.normalize("NFC", "é.png"),
    unicodedata.normalize("NFD", "é.png"),
    "new\nline.png",
    "\x1b[2Jclear.png",
    "-rf.png",
    "n" * 251 + ".png",
    "\udcff\udcfe.png",
    "👩\u200d🔬.png",
    "\u202eright-to-left.png",
    "\u200fmark.png",
    "tab\there.png",
    "quote'.png",
    'double".png',
    "space .png",
    "<script>alert(1)</script>.png".replace("/", "\u2044"),
    "{{7*7}}.png",
    "=cmd().png",
    "%s%n.png",
    "UPPER.PNG",
]


def test_twenty_odd_names(tmp_path: Path) -> None:
    root = class_folder(tmp_path, COUNTS)
    images = random_images(20, (8, 8, 3), seed=7)
    for name, image in zip(ODD_NAMES, images, strict=True):
        (root / "cat" / name).write_bytes(encoded(image))
    dataset, test = load(str(root))
    assert len(dataset) + len(test) == 40
    assert dataset.files is not None
    assert all(name.isprintable() or "\u200d" in name for name in dataset.files)
    again, _ = load(str(root))
    assert again.files == dataset.files
    for name in ODD_NAMES:
        (root / "cat" / name).write_bytes(b"bad")
    with refused("20 of 40 images cannot be read", "\\x1b[2Jclear.png", "new\\nline.png", "\\xff\\xfe.png"):
        load(str(root))


def test_class_names_that_look_alike_are_refused(tmp_path: Path) -> None:
    class_folder(tmp_path, {unicodedata.normalize("NFC", "é"): 2, unicodedata.normalize("NFD", "é"): 2})
    with refused("look the same"):
        load(str(tmp_path))


def test_class_names_are_made_printable(tmp_path: Path) -> None:
    dataset, _ = load(str(class_folder(tmp_path, {"a\x1b[2J": 2, "b\n": 2, "\udcff": 2})))
    assert dataset.classes == ("a\\x1b[2J", "b\\n", "\\xff")


def test_one_file_name_in_two_classes_and_one_image_under_two_labels(tmp_path: Path) -> None:
    root = class_folder(tmp_path, COUNTS)
    (root / "cat" / "twin.png").write_bytes((root / "dog" / "003.png").read_bytes())
    dataset, test = load(str(root))
    assert len(dataset) + len(test) == 21
    together = [*dataset.notes]
    in_development = dataset.files is not None and "cat/twin.png" in dataset.files
    assert in_development == any("1 image has more than one label" in note for note in together)


def test_conflicts_are_counted(tmp_path: Path) -> None:
    class_folder(tmp_path / "train", COUNTS)
    class_folder(tmp_path / "test", COUNTS, seed=3)
    for i in range(3):
        (tmp_path / "train" / "cat" / f"twin{i}.png").write_bytes(
            (tmp_path / "train" / "dog" / f"00{i}.png").read_bytes()
        )
    dataset, _ = load(str(tmp_path))
    assert any(
        note.startswith("3 images have more than one label, in 6 files: train/cat/twin0.png") for note in dataset.notes
    )


@pytest.mark.parametrize("planted", [0, 7])
def test_exact_duplicates_across_the_parts_are_counted(tmp_path: Path, planted: int) -> None:
    class_folder(tmp_path / "train", COUNTS, seed=1)
    class_folder(tmp_path / "test", COUNTS, seed=2)
    for i in range(planted):
        (tmp_path / "test" / "dog" / f"copy{i}.png").write_bytes(
            (tmp_path / "train" / "dog" / f"00{i}.png").read_bytes()
        )
    dataset, _ = load(str(tmp_path))
    found = [note for note in dataset.notes if "also among the development images" in note]
    assert [note.split()[0] for note in found] == ([str(planted)] if planted else [])


def test_all_bad_files_are_named_at_once(tmp_path: Path) -> None:
    root = class_folder(tmp_path, COUNTS)
    bad = corpus()
    for name, data in bad.items():
        (root / "cat" / name).write_bytes(data)
    with refused("12 of 32 images cannot be read", "bad='skip'", *bad):
        load(f"folder('{root}', size=8)")
    dataset, test = load(f"folder('{root}', size=8, bad='skip')")
    assert len(dataset) + len(test) == 20
    note = next(note for note in dataset.notes if "skipped" in note)
    assert all(name in note for name in bad)


def test_only_bad_files_is_an_error_even_when_they_are_left_out(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"bad")
    with refused("2 of 2 images cannot be read"):
        load(f"folder('{tmp_path}', bad='skip')")


def test_mixed_sizes_are_brought_to_one(tmp_path: Path) -> None:
    root = class_folder(tmp_path, COUNTS)
    for name, shape in (("one.png", (1, 1, 3)), ("long.png", (1, 65500, 1)), ("large.png", (40, 30, 3))):
        (root / "cat" / name).write_bytes(encoded(random_images(1, shape)[0]))
    with refused("4 sizes from 1 x 1 to 65500 x 1 px", ", size=32)"):
        load(str(root), aim=None)
    chosen, _ = load(str(root))
    assert chosen.shape == (8, 8, 3)
    assert any("4 sizes from 1 x 1 to 65500 x 1 px" in note for note in chosen.notes)
    dataset, test = load(f"folder('{root}', size=16)")
    assert dataset.shape == (16, 16, 3)
    assert len(dataset) + len(test) == 23


def test_mixed_modes_are_brought_to_one_and_counted(tmp_path: Path) -> None:
    pixels = random_images(24, (8, 8, 3))
    for i, mode in enumerate(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"] * 3):
        kind = {"CMYK": "tiff", "YCbCr": "jpeg"}.get(mode, "png")
        folder = tmp_path / ("cat" if i < 12 else "dog")
        folder.mkdir(exist_ok=True)
        (folder / f"{i:02}.{kind}").write_bytes(encoded(pixels[i], kind, mode))
    dataset, test = load(str(tmp_path))
    assert dataset.shape == (8, 8, 3)
    note = next(note for note in dataset.notes if "several modes" in note)
    assert all(f"3 {mode}" in note for mode in ("1", "L", "LA", "P", "RGBA", "CMYK"))
    assert len(dataset) + len(test) == 24


def test_grey_folders_have_one_channel(tmp_path: Path) -> None:
    assert load(str(class_folder(tmp_path, COUNTS, (8, 8, 1))))[0].shape == (8, 8, 1)


def test_16_bit_levels_come_from_the_development_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, low, high, n in (("train", 1000, 3000, 6), ("test", 0, 60_000, 3)):
        for name in ("cat", "dog"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(low, high + 1, (8, 8)).astype(np.uint16)
                pixels[0, 0], pixels[0, 1] = low, high
                (folder / f"{i}.png").write_bytes(encoded(pixels))
    dataset, test = load(str(tmp_path))
    assert dataset.levels == (1000.0, 3000.0)
    assert (dataset.images[:, 0, 0] == 0).all()
    assert (dataset.images[:, 0, 1] == 255).all()
    assert len(np.unique(dataset.images)) > 100
    assert (np.concatenate(list(test.images_without_labels()))[:, 0, 1] == 255).all()
    assert any("deeper than 8 bits" in note for note in dataset.notes)


def test_16_bit_levels_without_an_official_test_part(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(10):
            (tmp_path / name / f"{i}.png").write_bytes(encoded(rng.integers(0, 65536, (8, 8)).astype(np.uint16)))
    dataset, test = load(str(tmp_path))
    assert (len(dataset), len(test)) == (16, 4)
    stored = [np.frombuffer(b"", np.uint16)]
    from PIL import Image

    for name in dataset.files or ():
        with Image.open(tmp_path / name) as image:
            stored.append(np.asarray(image).reshape(-1))
    values = np.concatenate(stored)
    assert dataset.levels == (values.min(), values.max())


def test_nan_in_an_image_names_the_file(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(3):
            values = np.full((8, 8), np.nan if (name, i) == ("dog", 1) else i, np.float32)
            (tmp_path / name / f"{i}.tif").write_bytes(encoded(values, "TIFF"))
    with refused("dog/1.tif (it holds values that are not finite)"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("counts", "part"),
    [({}, "a folder for each class"), ({"cat": 3}, "at least 2 classes"), ({"cat": 3, "dog": 0}, "at least 2 classes")],
)
def test_too_little_data_is_refused(tmp_path: Path, counts: dict[str, int], part: str) -> None:
    with refused(part):
        load(str(class_folder(tmp_path, counts)))


def test_empty_class_folders_are_refused(tmp_path: Path) -> None:
    with refused("at least one image"):
        load(str(class_folder(tmp_path, {"cat": 0, "dog": 0})))


def test_a_class_with_one_image_keeps_it_in_training(tmp_path: Path) -> None:
    dataset, test = load(str(class_folder(tmp_path, {"cat": 10, "dog": 1})))
    assert np.bincount(dataset.labels).tolist() == [8, 1]
    assert len(test) == 2


@pytest.mark.parametrize("option", ["size='big'", "size=0", "bad='ignore'", "path=3", "labels=3", "labels='no.csv'"])
def test_bad_options_are_refused(tmp_path: Path, option: str) -> None:
    root = class_folder(tmp_path, COUNTS)
    path = "" if option.startswith("path") else f"'{root}', "
    with refused(option.split("=")[0] if "no.csv" not in option else "no.csv"):
        load(f"folder({path}{option})")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_of_a_folder(tmp_path: Path, kind: str) -> None:
    root = class_folder(tmp_path / "pets", COUNTS)
    expected, expected_test = load(str(root))
    archive = tmp_path / f"pets.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as bundle:
            for path in sorted(root.rglob("*.png")):
                bundle.write(path, path.relative_to(tmp_path))
    else:
        with tarfile.open(archive, "w:gz") as bundle:
            bundle.add(root, "pets")
    dataset, test = load(str(archive))
    assert dataset.fingerprint == expected.fingerprint
    assert test.fingerprint == expected_test.fingerprint
    again, _ = load(str(archive))
    assert again.files == expected.files
    left = [path for path in Path(os.environ["POCKETLENS_HOME"]).rglob("*") if "unpacked" in path.name]
    assert left == []


def test_a_hostile_archive_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as bundle:
        bundle.addfile(tarfile.TarInfo("../evil.png"), io.BytesIO())
    with refused("evil.tar", "leads out of the folder"):
        load(str(tmp_path / "evil.tar"))
    home = Path(os.environ["POCKETLENS_HOME"])
    assert [path for path in home.rglob("*") if path.is_file() or "part" in path.name] == []
