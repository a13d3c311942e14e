"""Folders and archives of images with parts: what is loaded, as which part, and what is said about it."""

from __future__ import annotations

import os
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_images import class_folder, refused

from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.split import make_split
from pocketlens.datasets import load, load_to_look

TRAIN, VAL, TEST = {"cat": 8, "dog": 7}, {"cat": 2, "dog": 3}, {"cat": 3, "dog": 4}


def made(root: Path, **parts: dict[str, int]) -> Path:
    """A folder of parts; `a__b` is the folder a/b."""
    for seed, (name, counts) in enumerate(parts.items(), 1):
        class_folder(root / name.replace("__", "/"), counts, (4, 4, 1), seed)
    return root


def zipped(root: Path, wrapping: str = "") -> Path:
    """The folder as an archive."""
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as bundle:
        for file in sorted(root.rglob("*")):
            bundle.write(file, f"{wrapping}{file.relative_to(root)}")
    return path


def counted(loaded: tuple[Dataset, SealedTest]) -> tuple[int, int, int]:
    """Rows to train on, to validate on as given, and sealed."""
    dataset, sealed = loaded
    n_val = 0 if dataset.val is None else int(dataset.val.sum())
    return len(dataset) - n_val, n_val, len(sealed)


LAYOUTS = {
    "Training and Testing": {"Training": TRAIN, "Testing": TEST},
    "Train and Test": {"Train": TRAIN, "Test": TEST},
    "with predict": {"train": TRAIN, "test": TEST, "predict": {"": 3}},
    "with annotations": {"train": TRAIN, "test": TEST, "annotations": {}},
    "doubled": {"seg_train__seg_train": TRAIN, "seg_test__seg_test": TEST, "seg_pred__seg_pred": {"": 2}},
    "training_set": {"training_set": TRAIN, "test_set": TEST},
    "train and dev": {"train": TRAIN, "dev": TEST},
    "wrapped": {"data__set__train": TRAIN, "data__set__valid": TEST},
    "wrapped beside others": {"data__train": TRAIN, "data__holdout": TEST, "docs": {"": 2}},
}


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("case", LAYOUTS)
def test_parts_are_taken_as_such_in_folders_and_in_archives(tmp_path: Path, case: str, as_zip: bool) -> None:
    root = made(tmp_path / "made", **LAYOUTS[case])
    (root / "README.txt").write_text("read me")
    dataset, sealed = loaded = load(str(zipped(root) if as_zip else root))
    assert dataset.classes == ("cat", "dog")
    assert counted(loaded) == (15, 0, 7)
    assert dataset.notes[0].startswith("parts: ")
    assert any("README.txt" in note for note in dataset.notes)
    assert (dataset.fingerprint, sealed.fingerprint) == tuple(each.fingerprint for each in load(str(root)))
    again = load(dataset.text)  # from the cache
    assert again[0].notes == dataset.notes
    if not as_zip:
        assert dataset.files is not None
        assert all((root / name).is_file() for name in dataset.files)


@pytest.mark.parametrize("as_zip", [False, True])
def test_the_given_validation_rows_validate(tmp_path: Path, as_zip: bool) -> None:
    root = made(tmp_path / "made", train=TRAIN, Validation=VAL, test=TEST)
    dataset, _ = loaded = load(str(zipped(root, "x/y/") if as_zip else root))
    assert counted(loaded) == (15, 5, 7)
    split = make_split(dataset)
    assert dataset.files is not None
    assert all("Validation/" in dataset.files[row] for row in split.val)
    assert all("train/" in dataset.files[row] for row in split.train)
    again, _ = load(dataset.text)
    assert again.val is not None
    assert dataset.val is not None
    assert np.array_equal(again.val, dataset.val)


@pytest.mark.parametrize("as_zip", [False, True])
def test_train_and_val_alone(tmp_path: Path, as_zip: bool) -> None:
    root = made(tmp_path / "made", train=TRAIN, val=VAL)
    path = zipped(root) if as_zip else root
    assert counted(load(str(path))) == (15, 0, 5)
    for val in ("validation", "val"):
        dataset, _ = loaded = load(f"folder('{path}', val='{val}')")
        assert counted(loaded) == (12, 5, 3)
        assert "val/ (5 images) validates" in dataset.notes[0]


def test_the_text_that_a_note_names_can_be_typed(tmp_path: Path) -> None:
    for name in ("plain", "it's mine", "$HOME `x`", 'say "cheese"'):
        dataset, _ = load(str(made(tmp_path / name, train=TRAIN, val=VAL)))
        (typed,) = shlex.split(dataset.notes[0].split("instead, give ")[1].removesuffix(")"))
        assert counted(load(typed)) == (12, 5, 3)


def test_folds(tmp_path: Path) -> None:
    root = made(tmp_path, **{f"fold{number}": TEST for number in (1, 2, 10)})
    with refused("has the folds fold1, fold2, fold10", f"\"folder(path='{root}', test='fold10')\""):
        load(str(root))
    for test in ("fold2", "Fold_2", "2", str(root / "fold2")):
        dataset, sealed = loaded = load(f"folder('{root}', test='{test}')")
        assert counted(loaded) == (14, 0, 7)
        assert dataset.folds is not None
        assert dataset.folds.tolist() == [1] * 7 + [10] * 7
        assert test in dataset.text
        assert len(sealed) == 7
    archive = zipped(root)
    dataset, _ = load(f"folder('{archive}', test='fold2')")
    assert dataset.folds is not None
    assert dataset.folds.tolist() == [1] * 7 + [10] * 7


def test_same_folders_below_are_parts(tmp_path: Path) -> None:
    root = made(tmp_path, north=TRAIN, south=TEST)
    for call in (load, load_to_look):
        with refused("north, south look like parts", f"\"folder(path='{root}', test='south')\""):
            call(str(root))
    assert counted(load(f"folder('{root}', test='south')")) == (15, 0, 7)
    assert load(f"folder('{root}', depth=1)")[0].classes == ("north", "south")
    dataset, _ = load(f"folder('{root}', depth=2)")
    assert dataset.classes == ("cat", "dog")
    assert (
        "folders of the same name are one class: cat (north/cat, south/cat), dog (north/dog, south/dog)"
        in dataset.notes
    )


def test_levels(tmp_path: Path) -> None:
    root = made(
        tmp_path,
        train__cat={"persian": 5, "siamese": 5},
        train__dog={"pug": 5},
        test__cat={"persian": 2},
        test__dog={"pug": 1},
    )
    dataset, sealed = load(str(root))
    assert dataset.classes == ("cat", "dog")
    assert any("cat/persian, cat/siamese, dog/pug" in note and "depth=2" in note for note in dataset.notes)
    dataset, sealed = load(f"folder('{root}', depth=2)")
    assert dataset.classes == ("persian", "pug", "siamese")
    assert (len(dataset), len(sealed)) == (15, 3)
    assert dataset.notes[-1] == "1 of 3 classes has no test images (development images: 5 of 'siamese')"


def test_a_class_that_only_validates_is_refused_and_one_that_does_not_is_noted(tmp_path: Path) -> None:
    root = made(tmp_path, train={**TRAIN, "eel": 2}, val=VAL, test=TEST)
    dataset, _ = load(str(root))
    assert any(
        "1 of 3 classes has no validation images" in note and "eel" in note for note in make_split(dataset).notes
    )
    class_folder(tmp_path / "val", {"fox": 1}, (4, 4, 1))
    with refused("every class of the validation set must have training images", "fox"):
        load(str(root))


def test_an_empty_test_part_leaves_no_test_rows_and_says_so(tmp_path: Path) -> None:
    root = made(tmp_path, train=TRAIN, test={"cat": 0, "dog": 0})
    dataset, _ = loaded = load(str(root))
    assert counted(loaded) == (15, 0, 0)
    about = [note for note in dataset.notes if "test" in note]
    assert [note.partition(";")[0] for note in about] == [
        "test/ holds no images",
        "there are no test images (development images: 8 of 'cat', 7 of 'dog')",
    ], "each says another thing"
    typed = about[0].partition(", give ")[2].strip('"')
    assert counted(load(typed)) == (12, 0, 3), "what is to be typed does what is said"


def test_an_empty_validation_part_is_as_good_as_none(tmp_path: Path) -> None:
    root = made(tmp_path, train=TRAIN, val={"cat": 0, "dog": 0}, test=TEST)
    dataset, _ = load(str(root))
    assert dataset.val is None
    assert "val/ holds no images" in dataset.notes
    assert not any("val/ (0 images)" in note for note in dataset.notes)
    assert len(make_split(dataset).val) == 2


def test_parts_that_are_links(tmp_path: Path) -> None:
    elsewhere = made(tmp_path / "elsewhere", a=TRAIN, b=TEST)
    root = tmp_path / "root"
    root.mkdir()
    (root / "train").symlink_to(elsewhere / "a")
    (root / "test").symlink_to(elsewhere / "b")
    with refused("train", "follow=True"):
        load(str(root))
    assert counted(load(f"folder('{root}', follow=True)")) == (15, 0, 7)
    (root / "again").symlink_to(root)
    (root / "self").symlink_to("self")
    assert counted(load(f"folder('{root}', follow=True)")) == (15, 0, 7)


def test_a_test_part_elsewhere(tmp_path: Path) -> None:
    root = made(tmp_path / "root", train=TRAIN, val=VAL)
    other = made(tmp_path, other__images=TEST) / "other"
    dataset, _ = loaded = load(f"folder('{root}', test='{other}')")
    assert counted(loaded) == (15, 5, 7)
    assert "the other folder is the sealed test part" in dataset.notes[0]
    alone = made(tmp_path / "alone", **TRAIN_CLASSES)
    assert counted(load(f"folder('{alone}', test='{other}', val='{root / 'val'}')")) == (15, 5, 7)


TRAIN_CLASSES = {name: {"": n} for name, n in TRAIN.items()}


def test_our_own_folders_are_no_part_of_the_data(tmp_path: Path) -> None:
    root = made(tmp_path, **TRAIN_CLASSES, **{"pocketlens-runs__a": {"b": 1}, "pocketlens-looks__a": {"": 1}})
    dataset, _ = load(str(root))
    assert dataset.classes == ("cat", "dog")
    assert counted(load(str(root))) == (12, 0, 3)


# ---- the column of a CSV


def test_a_level_of_folders_and_a_table_exclude_each_other(tmp_path: Path) -> None:
    typed = with_column(tmp_path, ["train", "test"] * 6)
    with refused("leave one of them out", "labels='folders'"):
        load(f"folder({typed}, depth=1)")


def with_column(root: Path, parts: list[str]) -> str:
    """A folder with a labels CSV whose rows are in these parts."""
    class_folder(root, {"": len(parts)}, (4, 4, 1))
    rows = [f"{i:03}.png,{'odd' if i // 6 % 2 else 'even'},{part}" for i, part in enumerate(parts)]
    (root / "labels.csv").write_text("file,label,split\n" + "\n".join(rows))
    return f"'{root}', labels='labels.csv'"


def test_a_column_of_parts_is_used(tmp_path: Path) -> None:
    typed = with_column(tmp_path, ["train", "test", "train", "val", "val", "test"] * 5)
    dataset, _ = loaded = load(f"folder({typed})")
    assert counted(loaded) == (10, 10, 10)
    assert dataset.files is not None
    assert [int(dataset.files[row][:3]) % 6 for row in make_split(dataset).val] == [3, 4] * 5
    assert dataset.notes[0] == "parts: 10 rows train, 10 validate, 10 are the sealed test part"


def test_a_column_of_train_and_val_is_read_as_such_folders_are(tmp_path: Path) -> None:
    typed = with_column(tmp_path, ["train", "train", "train", "val", "val"] * 4)
    dataset, _ = loaded = load(f"folder({typed})")
    assert counted(loaded) == (12, 0, 8)
    assert "val='validation'" in dataset.notes[0]
    assert counted(load(f"folder({typed}, val='validation')")) == (9, 8, 3)


def test_a_column_of_folds_asks_for_the_test_part(tmp_path: Path) -> None:
    typed = with_column(tmp_path, ["1", "2", "2", "10", "10"] * 4)
    with refused("has the folds fold1, fold2, fold10", "test='fold10'"):
        load(f"folder({typed})")
    for test in ("2", "fold2"):
        dataset, _ = loaded = load(f"folder({typed}, test='{test}')")
        assert counted(loaded) == (12, 0, 8)
        assert dataset.folds is not None
        assert sorted(set(dataset.folds.tolist())) == [1, 10]
    assert counted(load(f"folder({typed}, test='2', val='1')")) == (8, 4, 8)
    with refused("test must be a file or one of the values", "'7'", "there are fold1, fold2, fold10"):
        load(f"folder({typed}, test='7')")


def test_a_csv_without_such_a_column_refuses_a_name(tmp_path: Path) -> None:
    class_folder(tmp_path, {"": 4}, (4, 4, 1))
    (tmp_path / "labels.csv").write_text("file,label\n000.png,a\n001.png,b\n")
    with refused("test must be another CSV", "'fold1'", "no column of parts"):
        load(f"folder('{tmp_path}', labels='labels.csv', test='fold1')")


def test_a_relative_name_stays_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(tmp_path / "root", a=TRAIN, b=TEST)
    monkeypatch.chdir(tmp_path)
    dataset, _ = load("folder('root', test='b')")
    assert dataset.text == f"folder(path={str(root)!r}, test='b')"
    os.rename(root, tmp_path / "moved")
    assert counted(load(dataset.text.replace(str(root), str(tmp_path / "moved")))) == (15, 0, 7)


@pytest.mark.parametrize("copy", ["cells", "PlantVillage"])
def test_a_copy_of_the_classes_beside_them_is_no_class(tmp_path: Path, copy: str) -> None:
    for folder in (tmp_path / "cells", tmp_path / "cells" / copy):
        class_folder(folder, {"Parasitized": 2, "Uninfected": 2})
    with refused("looks like a copy", f"give \"folder(path='{tmp_path / 'cells' / copy}')\""):
        load(str(tmp_path / "cells"))
    assert load(str(tmp_path / "cells" / copy))[0].classes == ("Parasitized", "Uninfected")


def test_images_beside_their_annotations_are_no_classes(tmp_path: Path) -> None:
    class_folder(tmp_path, {"images": 3, "annotations/trimaps": 3})
    with refused("look like images and their annotations", "labels='FILE.csv'"):
        load(str(tmp_path))
    class_folder(tmp_path / "images", {"cat": 2, "dog": 2})
    with refused(f"give \"folder(path='{tmp_path / 'images'}')\""):
        load(str(tmp_path))


def test_classes_called_mask_and_image_of_something_stay_classes(tmp_path: Path) -> None:
    class_folder(tmp_path, {"mask": 3, "no_mask": 3})
    assert load(str(tmp_path))[0].classes == ("mask", "no_mask")


def test_one_picture_alone_in_two_classes_is_refused(tmp_path: Path) -> None:
    class_folder(tmp_path, {"a": 1})
    (picture,) = (tmp_path / "a").iterdir()
    (tmp_path / "b").mkdir()
    for copy in ("b/1.png", "b/2.png"):
        (tmp_path / copy).write_bytes(picture.read_bytes())
    with refused("its 3 images are equal in every pixel"):
        load(str(tmp_path))
