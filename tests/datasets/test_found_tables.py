"""The table beside the images is found by itself, and class names that differ by case or space alone are named."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from made_images import class_folder, refused

from pocketlens.data.split import make_split
from pocketlens.datasets import load

FEW = range(12)


def flat(root: Path, n: int = 12, seed: int = 0, name: str = "{:03}.png") -> Path:
    """A folder of images without class folders."""
    class_folder(root, {"": n}, (4, 4, 1), seed)
    for i in range(n):
        (root / f"{i:03}.png").rename(root / name.format(i))
    return root


def write(path: Path, header: str, rows: Iterable[object]) -> Path:
    path.write_text("\n".join([header, *map(str, rows)]) + "\n")
    return path


@pytest.mark.parametrize("place", ["with the images", "beside their folder", "in the wrapped folder"])
def test_the_only_table_is_used(tmp_path: Path, place: str) -> None:
    root = tmp_path / "photos"
    images = {"with the images": root, "beside their folder": root / "img", "in the wrapped folder": root / "a" / "b"}
    flat(images[place])
    where = images[place] if place == "in the wrapped folder" else root
    write(where / "Class Labels 1.csv", "image ID,class label", (f"{i},{'x' if i % 3 else 'y'}" for i in FEW))
    (root / "README.txt").write_text("These are images.\nThey are ours.\n")
    dataset, test = load(str(root))
    assert (dataset.classes, len(dataset) + len(test)) == (("x", "y"), 12)
    assert dataset.files is not None
    for name, label in zip(dataset.files, dataset.labels, strict=True):
        assert dataset.classes[label] == ("x" if int(name[-7:-4]) % 3 else "y")
    assert dataset.notes[0].startswith("labels from ")
    assert dataset.notes[0].endswith("Class Labels 1.csv: files in column 'image ID', classes in column 'class label'")
    assert load(dataset.text)[0].fingerprint == dataset.fingerprint


def test_a_table_above_the_images_is_used(tmp_path: Path) -> None:
    flat(tmp_path / "images")
    write(tmp_path / "labels.csv", "file,label", (f"{i:03},{i % 2}" for i in FEW))
    assert load(str(tmp_path / "images"))[0].classes == ("0", "1")
    class_folder(tmp_path / "classes", {"a": 6, "b": 6})
    assert load(str(tmp_path / "classes"))[0].classes == ("a", "b")


def test_an_archive_with_its_table(tmp_path: Path) -> None:
    flat(tmp_path / "set" / "images")
    write(tmp_path / "set" / "labels.csv", "file,label", (f"{i:03},{i % 2}" for i in FEW))
    path = shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path, "set")
    assert load(path)[0].classes == ("0", "1")
    write(tmp_path / "set" / "labels.csv", "file,label", (f"{i + 3:03},{i % 2}" for i in FEW))
    path = shutil.make_archive(str(tmp_path / "other"), "zip", tmp_path, "set")
    with refused(
        f"{path} must hold every file", "3 of 12 are missing: 012, 013, 014", f"folder(path={path!r}, labels="
    ):
        load(path)


def test_of_several_tables_none_is_guessed(tmp_path: Path) -> None:
    root = flat(tmp_path)
    for name in ("a.csv", "b.tsv"):
        write(root / name, "file,label", (f"{i:03},{i % 2}" for i in FEW))
    with refused("2 tables beside the images", "labels='a.csv')", "labels='b.tsv')"):
        load(str(root))
    assert load(f"folder({str(root)!r}, labels='b.tsv')")[0].classes == ("0", "1")


def test_tables_of_parts_are_one(tmp_path: Path) -> None:
    for part, n, seed in (("train", 10, 0), ("valid", 4, 1), ("test", 6, 2)):
        flat(tmp_path / part, n, seed)
        write(tmp_path / f"{part}.csv", "file,label", (f"{i:03}.png,{i % 2}" for i in range(n)))
    dataset, test = load(str(tmp_path))
    assert (len(dataset), len(test), len(make_split(dataset).val)) == (14, 6, 4)
    assert dataset.files is not None
    assert {name.split("/")[0] for name in dataset.files} == {"train", "valid"}


def test_an_unlabelled_test_table_and_a_form_to_fill_in_are_no_labels(tmp_path: Path) -> None:
    flat(tmp_path / "train_images")
    flat(tmp_path / "test_images", 5, 1)
    write(tmp_path / "train.csv", "id_code,diagnosis", (f"{i:03},{i % 3}" for i in FEW))
    write(tmp_path / "test.csv", "id_code,age", (f"{i:03},{i}" for i in range(5)))
    write(tmp_path / "sample_submission.csv", "id_code,diagnosis", (f"{i:03},0" for i in range(5)))
    dataset, test = load(str(tmp_path))
    assert (dataset.classes, len(dataset) + len(test)) == (("0", "1", "2"), 12)
    assert dataset.files is not None
    assert all(name.startswith("train_images/") for name in dataset.files)
    assert "not used: 5 of 17 images below the folder, without a line in the table" in dataset.notes


def test_a_table_beside_class_folders(tmp_path: Path) -> None:
    root = class_folder(tmp_path, {"a": 10, "b": 10})
    names = [f"{name}/{i:03}.png" for name in "ab" for i in range(10)]
    plain, plain_test = load(str(root))
    write(root / "labels.csv", "file,label", (f"{name},{name[0]}" for name in names))
    assert load(str(root))[0].fingerprint == plain.fingerprint
    rows = [f"{name},{name[0]},{'test' if int(name[4]) < 3 else 'train'}" for name in names]
    write(root / "labels.csv", "file,label,split", rows)
    dataset, test = load(str(root))
    assert (len(dataset), len(test)) == (14, 6)
    assert "labels from labels.csv: files in column 'file', classes in column 'label'" in dataset.notes
    write(root / "labels.csv", "file,label", (f"{name},{'odd' if int(name[4]) % 2 else 'even'}" for name in names))
    typed = f"folder(path={str(root)!r}, labels="
    with refused(
        "has class folders, and labels.csv gives its images other labels", f"{typed}'labels.csv')", f"{typed}'folders')"
    ):
        load(str(root))
    assert load(f"{typed}'labels.csv')")[0].classes == ("even", "odd")
    by_folders, by_folders_test = load(f"{typed}'folders')")
    assert (by_folders.fingerprint, by_folders_test.fingerprint) == (plain.fingerprint, plain_test.fingerprint)


def test_a_group_column_beside_class_folders(tmp_path: Path) -> None:
    root = class_folder(tmp_path, {"a": 10, "b": 10})
    rows = [f"{name}/{i:03}.png,{name},{name}{i // 2}" for name in "ab" for i in range(10)]
    write(root / "labels.csv", "file,label,patient", rows)
    dataset, test = load(f"folder({str(root)!r}, group='Patient')")
    assert dataset.groups is not None
    assert len(np.unique(dataset.groups)) * 2 == len(dataset)
    assert len(test) % 2 == 0


def beside_classes(root: Path) -> list[str]:
    """Class folders `a` and `b` of ten images each; returns their names."""
    class_folder(root, {"a": 10, "b": 10})
    return [f"{name}/{i:03}.png" for name in "ab" for i in range(10)]


def test_a_table_of_parts_without_labels_beside_class_folders(tmp_path: Path) -> None:
    names = beside_classes(tmp_path)
    write(
        tmp_path / "splits.csv", "file,split", (f"{name},{'test' if int(name[4]) < 3 else 'train'}" for name in names)
    )
    write(tmp_path / "ages.csv", "file,label,age", (f"{name},{name[0]},{i}" for i, name in enumerate(names)))
    write(tmp_path / "patients.csv", "patient,sex", ("1,f", "2,m"))
    dataset, test = load(str(tmp_path))
    assert (dataset.classes, len(dataset), len(test)) == (("a", "b"), 14, 6)
    assert dataset.files is not None
    assert all(int(name[-5]) >= 3 for name in dataset.files)
    assert "labels from splits.csv: files in column 'file', classes in the names of the class folders" in dataset.notes
    assert "not used: ages.csv" in dataset.notes
    assert len(load(f"folder({str(tmp_path)!r}, labels='folders')")[1]) == 4


def test_class_folders_below_others_keep_their_names_beside_a_table_of_parts(tmp_path: Path) -> None:
    for name in "ab":
        class_folder(tmp_path / "set" / name, {"x": 5, "y": 5}, seed=ord(name))
    names = [f"set/{name}/{inner}/{i:03}.png" for name in "ab" for inner in "xy" for i in range(5)]
    write(
        tmp_path / "s.csv",
        "file,split",
        (f"{name},{'test' if i % 5 == 0 else 'train'}" for i, name in enumerate(names)),
    )
    dataset, test = load(str(tmp_path))
    assert (dataset.classes, len(dataset), len(test)) == (("a", "b"), 16, 4)


def test_a_table_of_parts_in_the_folder_that_wraps_the_class_folders(tmp_path: Path) -> None:
    names = beside_classes(tmp_path / "set" / "images")
    rows = [f"{name},{'test' if int(name[4]) < 3 else 'train'}" for name in names]
    write(tmp_path / "set" / "images" / "splits.csv", "file,split", rows)
    dataset, test = load(str(tmp_path))
    assert (dataset.classes, len(dataset), len(test)) == (("a", "b"), 14, 6)


def test_tables_that_give_different_parts_are_not_guessed_at(tmp_path: Path) -> None:
    names = beside_classes(tmp_path)
    write(tmp_path / "a.csv", "file,split", (f"{name},{'test' if int(name[4]) < 3 else 'train'}" for name in names))
    write(tmp_path / "b.csv", "file,is_test", (f"{name},{int(int(name[4]) > 7)}" for name in names))
    typed = f"folder(path={str(tmp_path)!r}, labels="
    with refused("2 tables give different parts (a.csv, b.csv)", f"{typed}'b.csv', label_column='folders')"):
        load(str(tmp_path))
    assert len(load(f"{typed}'b.csv', label_column='folders')")[1]) == 4
    write(tmp_path / "b.csv", "file,part", (f"{name},{'test' if int(name[4]) < 3 else 'train'}" for name in names))
    assert len(load(str(tmp_path))[1]) == 6, "they say the same"


def test_parts_of_few_of_the_pictures_are_not_taken_without_being_asked(tmp_path: Path) -> None:
    names = beside_classes(tmp_path)[5:13]
    write(
        tmp_path / "s.csv",
        "file,split",
        (f"{name},{'test' if i % 4 == 0 else 'train'}" for i, name in enumerate(names)),
    )
    typed = f"folder(path={str(tmp_path)!r}, labels="
    with refused("20 images in class folders, and s.csv gives the parts of 8", f"{typed}'folders')"):
        load(str(tmp_path))
    dataset, test = load(f"{typed}'s.csv', label_column='folders')")
    assert (len(dataset), len(test)) == (6, 2)


@pytest.mark.parametrize("kind", ["COCO", "YOLO", "Pascal VOC"])
def test_boxes_are_no_classes(tmp_path: Path, kind: str) -> None:
    flat(tmp_path / "images")
    (tmp_path / "annotations").mkdir()
    if kind == "COCO":
        (tmp_path / "annotations" / "boxes.json").write_text('{"images": [], "annotations": [], "categories": []}')
    for i in FEW if kind != "COCO" else ():
        (tmp_path / "annotations" / f"{i:03}{'.txt' if kind == 'YOLO' else '.xml'}").write_text("0 0.5 0.5 1 1")
    with refused(kind, "one class for each image", "labels='labels.csv')"):
        load(str(tmp_path))
    write(tmp_path / "labels.csv", "file,label", (f"{i:03},{i % 2}" for i in FEW))
    assert load(str(tmp_path))[0].classes == ("0", "1"), "a table says the classes"


def test_names_that_look_like_classes_are_said(tmp_path: Path) -> None:
    for name in ("cat", "red fox"):
        flat(tmp_path, 6, seed=len(name), name=name + "_{:03}.png")
    with refused("begin with cat (6), red fox (6)", "labels='names'"):
        load(str(tmp_path))


def test_a_class_with_one_image_stays_in_training_with_a_line(tmp_path: Path) -> None:
    root = flat(tmp_path)
    write(root / "labels.csv", "file,label", (f"{i:03},{'common' if i else 'rare'}" for i in FEW))
    dataset, _ = load(str(root))
    split = make_split(dataset)
    assert (dataset.labels == dataset.classes.index("rare"))[split.train].sum() == 1
    assert "class 'rare' has 1 training image" in split.notes


def test_what_is_wrong_with_the_only_table_is_said(tmp_path: Path) -> None:
    root = flat(tmp_path)
    write(root / "labels.csv", "who,what", (f"x{i},{i % 2}" for i in FEW))
    with refused("a column that names the images", "who, what"):
        load(str(root))
    write(root / "labels.csv", "file,label", (f"{i:03},{i % 2}" for i in range(4, 16)))
    with refused("4 of 12 are missing: 012, 013, 014, 015", "bad='skip'"):
        load(str(root))
    dataset, test = load(f"folder({str(root)!r}, bad='skip')")
    assert len(dataset) + len(test) == 8


@pytest.mark.parametrize("kind", ["folders", "table"])
def test_class_names_that_differ_by_case_or_space_alone(tmp_path: Path, kind: str) -> None:
    names = ("Cat", "cat", "dog", "dog ") if kind == "folders" else ("Cat", "cat", "dog", "DOG")
    if kind == "folders":
        class_folder(tmp_path, dict.fromkeys(names, 5))
    else:
        flat(tmp_path, 20)
        write(tmp_path / "labels.csv", "file,label", (f"{i:03},{names[i // 5]}" for i in range(20)))
    with refused("'Cat' (5) and 'cat' (5)", f'"folder(path={str(tmp_path)!r}, merge_names=True)"'):
        load(str(tmp_path))
    dataset, test = load(f"folder({str(tmp_path)!r}, merge_names=True)")
    assert dataset.classes == (("Cat", "dog") if kind == "folders" else ("Cat", "DOG"))
    assert len(dataset) + len(test) == 20
    assert any("were merged" in note for note in dataset.notes)


def test_class_names_that_differ_between_the_parts(tmp_path: Path) -> None:
    class_folder(tmp_path / "train", {"Cat": 5, "Dog": 5})
    class_folder(tmp_path / "test", {"cat": 2, "dog": 2}, seed=1)
    with refused("'Cat' (5) and 'cat' (2)", "'Dog' (5) and 'dog' (2)", "merge_names=True"):
        load(str(tmp_path))
    dataset, test = load(f"folder({str(tmp_path)!r}, merge_names=True)")
    assert (dataset.classes, len(dataset), len(test)) == (("Cat", "Dog"), 10, 4)
