"""Layouts of folders of images, from names alone: parts under many names, wrapped, doubled, mixed with other things."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import refused

from pocketlens.components import Component, parse_one
from pocketlens.data.sources.folder_tree import folder_tree
from pocketlens.data.sources.layout import Asked, Layout
from pocketlens.data.sources.layout_search import recognise
from pocketlens.data.sources.part_names import fold_numbers, is_same_name, role_of, roles_of
from pocketlens.errors import PocketlensError

IMAGES = frozenset({".png", ".jpg"})


def images(**folders: int) -> list[str]:
    """Names of images: `train__cat=3` are three in train/cat."""
    return [f"{folder.replace('__', '/')}/{i}.png" for folder, n in folders.items() for i in range(n)]


def under(folder: str, classes: str = "cat dog", n: int = 2) -> list[str]:
    """Names of `n` images in each class folder of a folder."""
    return [f"{folder}/{name}/{i}.jpg".lstrip("/") for name in classes.split() for i in range(n)]


def flat(folder: str, n: int = 3) -> list[str]:
    return [f"{folder}/{i}.png" for i in range(n)]


def layout_of(names: list[str], **options: object) -> Layout:
    typed = Component("folder", (("path", "/p"), *options.items()))
    return recognise(folder_tree(names, IMAGES), Asked(typed, **options))  # type: ignore[arg-type]


def bases(layout: Layout) -> dict[str, list[str]]:
    """The folders of class folders by the kind of their part."""
    found: dict[str, list[str]] = {}
    for part in layout.parts:
        found.setdefault(part.kind, []).append(part.base.path)
    return found


# ---- names


TRAIN = "train Train TRAIN training Training train_set train-set TrainSet trainset training_set seg_train train_images "
TRAIN += "trainImages Training-Data train_80 images_train trn"
VAL = "val valid Valid validation VALIDATION dev val_set seg_val validation-set valid_images devset"
TEST = "test Test testing Testing test_set seg_test holdout hold_out hold-out HoldOut eval evaluation testData test_20"


@pytest.mark.parametrize(("names", "role"), [(TRAIN, "train"), (VAL, "val"), (TEST, "test")])
def test_usual_names(names: str, role: str) -> None:
    assert {name: role_of(name) for name in names.split()} == dict.fromkeys(names.split(), role)


@pytest.mark.parametrize(
    "name",
    "cat strain latest contest invalid medieval devil images set 1 Testudo dataset retrain trainer valley".split(),
)
def test_names_that_say_nothing(name: str) -> None:
    assert role_of(name) is None


def test_a_long_name_is_read_at_once() -> None:
    assert role_of("dataset" * 40 + "x") is None  # a pattern that backtracks would not come to an end


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        ("flowers_train flowers_test", "train test"),
        ("chestTrain chestVal chestTest", "train val test"),
        ("train eval test", "train val test"),
        ("train dev eval", "train val test"),
        ("trainval test", "train test"),
        ("train trainval test", "train - test"),
        ("a_train a_test b_train b_test", "- - - -"),
        ("cats_train dogs_test", "- -"),
        ("train test predict", "train test predict"),
    ],
)
def test_names_beside_each_other(names: str, roles: str) -> None:
    found = roles_of(names.split())
    assert [found.get(name, "-") for name in names.split()] == roles.split()


def test_folds() -> None:
    assert fold_numbers(["fold10", "Fold 2", "fold_1"]) == {"fold10": 10, "Fold 2": 2, "fold_1": 1}
    assert fold_numbers(["1", "2"]) == {"1": 1, "2": 2}
    for names in (["fold1"], ["fold1", "set2"], ["fold1", "fold01"], ["a", "b"]):
        assert fold_numbers(names) is None
    assert is_same_name("5", "fold5")
    assert is_same_name("Fold 5", "fold_05")
    assert not is_same_name("fold5", "batch5")
    assert not is_same_name("a", "b")


# ---- parts


PARTS = {
    "plain": [*under("train"), *under("test")],
    "capitals": [*under("Training"), *under("Testing")],
    "with more beside": [*under("train"), *under("test"), *flat("predict"), "annotations/a.xml", "README.md"],
    "with images beside": [*under("train"), *under("test"), *flat("samples"), "overview.png"],
    "doubled": [*under("seg_train/seg_train"), *under("seg_test/seg_test")],
    "doubled, with a third": [*under("seg_train/seg_train"), *under("seg_test/seg_test"), *flat("seg_pred/seg_pred")],
    "wrapped": [*under("data/train"), *under("data/test")],
    "wrapped four times": [*under("a/b/c/d/train"), *under("a/b/c/d/test")],
    "wrapped beside others": [*under("data/train"), *under("data/test"), *flat("docs"), "LICENSE"],
    "wrapped and doubled": [*under("x/train/train"), *under("x/test/images")],
    "one prefix": [*under("pets_train"), *under("pets_test")],
    "an empty one": [*under("train"), *under("test"), "validation/"],
    "the same again inside": [*under("train"), *under("test"), *under("x/train"), *under("x/test")],
}


@pytest.mark.parametrize("case", PARTS)
def test_training_and_test_parts_are_recognised(case: str) -> None:
    layout = layout_of(PARTS[case])
    found = bases(layout)
    assert set(found) >= {"train", "test"}
    assert all({folder.name for folder in part.classes} == {"cat", "dog"} for part in layout.parts if part.n_images)
    assert layout.notes[0].startswith("parts: ")
    assert "(4 images) trains" in layout.notes[0]
    assert "(4 images) is the sealed test part" in layout.notes[0]


def test_what_is_beside_the_parts_is_named_once() -> None:
    layout = layout_of(PARTS["with more beside"])
    assert [note for note in layout.notes if "not used" in note] == ["not used: annotations/, README.md"]
    assert [note for note in layout.notes if "predict/" in note] == [
        "predict/ has 3 images without labels, not trained on and not tested; after training: pocketlens "
        'predict last "/p/predict"'
    ]
    (unused,) = [note for note in layout_of(PARTS["wrapped beside others"]).notes if "not used" in note]
    assert "docs/ (3 images)" in unused
    assert "LICENSE" in unused


@pytest.mark.parametrize("name", VAL.split())
def test_three_parts(name: str) -> None:
    layout = layout_of([*under("train"), *under(name, n=1), *under("test")])
    assert bases(layout) == {"train": ["train"], "val": [name], "test": ["test"]}
    assert f"{name}/ (2 images) validates" in layout.notes[0]


def test_train_and_val_alone() -> None:
    names = [*under("train"), *under("val")]
    layout = layout_of(names)
    assert bases(layout) == {"train": ["train"], "test": ["val"]}
    assert (
        "val/ (4 images) is the sealed test part; validation rows are cut from the training images" in layout.notes[0]
    )
    assert "\"folder(path='/p', val='validation')\"" in layout.notes[0]
    for val in ("validation", "val", "VAL"):
        layout = layout_of(names, val=val)
        assert bases(layout) == {"train": ["train"], "val": ["val"]}
        assert "a fifth of the training images is the sealed test part" in layout.notes[0]
    with refused("val must name a folder"):
        layout_of([*under("train"), *under("test")], val="validation")


def test_a_test_part_without_labels_is_left_alone() -> None:
    for test in (flat("test"), flat("test/test"), under("test", "unknown"), flat("Test1")):
        layout = layout_of([*under("train"), *under("val"), *test])
        assert bases(layout) == {"train": ["train"], "test": ["val"]}
        assert any("without labels" in note and "predict last" in note for note in layout.notes)
    layout = layout_of([*under("train"), *flat("test")])
    assert bases(layout) == {"train": ["train"]}
    assert "a fifth of the training images is the sealed test part" in layout.notes[0]


def test_an_empty_test_part_stays_one() -> None:
    for empty in (["test/"], ["test/cat/", "test/dog/"]):
        layout = layout_of([*under("train"), *empty])
        assert bases(layout) == {"train": ["train"], "test": ["test"]}
        assert any("test/ holds no images" in note for note in layout.notes)


def test_classes_beside_a_test_part() -> None:
    names = [*under("", "cat dog eel"), *under("test", "cat dog")]
    layout = layout_of(names)
    assert bases(layout) == {"train": [""], "test": ["test"]}
    assert [folder.name for folder in layout.parts[0].classes] == ["cat", "dog", "eel"]
    assert "the other folders (cat, dog, eel) (6 images) trains" in layout.notes[0]
    layout = layout_of([*under("", "cat dog eel"), *flat("test")])
    assert bases(layout) == {"train": [""]}
    assert [folder.name for folder in layout.parts[0].classes] == ["cat", "dog", "eel"]
    assert any("if it is a class, give \"folder(path='/p', depth=1)\"" in note for note in layout.notes)
    layout = layout_of([*under("", "cat dog eel"), *flat("test")], depth=1)
    assert len(layout.parts[0].classes) == 4


@pytest.mark.parametrize(
    "names",
    [under("", "bus train plane"), under("", "valid invalid"), under("", "dev prod test_a"), under("", "1 2 3")],
)
def test_class_folders_that_are_called_like_parts_are_classes(names: list[str]) -> None:
    layout = layout_of(names)
    assert bases(layout) == {"train": [""]}
    assert len(layout.parts[0].classes) == len({name.split("/")[0] for name in names})
    assert layout.notes == ()


def test_class_folders_below_wrapping_folders() -> None:
    for wrapping in ("PetImages", "data/PetImages"):
        layout = layout_of([*under(wrapping), "README.md", "MSR-LA.docx"])
        assert bases(layout) == {"train": [wrapping]}
        assert layout.notes[0] == f"the class folders are those in {wrapping}/: cat, dog"
        assert layout.notes[1] == "not used: MSR-LA.docx, README.md"
    layout = layout_of([*under("animals", "cat dog eel"), *flat("docs")])
    assert bases(layout) == {"train": ["animals"]}
    assert layout.notes[1] == "not used: docs/ (3 images)"
    assert bases(layout_of(under("train"))) == {"train": ["train"]}
    assert bases(layout_of([*under("", "cat"), "dog/"])) == {"train": [""]}


def test_files_with_other_endings_are_taken_for_images_where_there_are_no_images() -> None:
    for ending in ("", ".HEIC", ".dcm"):
        names = [f"{part}/{name}/{i}{ending}" for part in ("Train", "Test") for name in ("cat", "dog") for i in (1, 2)]
        assert bases(layout_of([*names, "README", "labels/a.txt"])) == {"train": ["Train"], "test": ["Test"]}


@pytest.mark.parametrize("trains", [["images"], ["Dataset"], ["fold1", "fold2"], ["a/b/images"]])
@pytest.mark.parametrize("test", ["test", "Testing", "holdout"])
def test_what_lies_beside_a_test_part_trains(trains: list[str], test: str) -> None:
    names = [name for folder in trains for name in under(folder)]
    place = trains[0].rpartition("/")[0]
    test = f"{place}/{test}".lstrip("/")
    assert bases(layout_of([*names, *under(test)])) == {"train": trains, "test": [test]}
    layout = layout_of([*names, *flat(test)])
    assert bases(layout) == {"train": trains}
    assert any("without labels" in note for note in layout.notes)


def test_what_lies_beside_a_test_part_and_holds_other_classes_does_not_train() -> None:
    layout = layout_of([*under("dogs", "pug beagle"), *under("test", "x y")])
    assert bases(layout) == {"train": [""]}


# ---- what has two readings


@pytest.mark.parametrize(
    "names", [under("A") + under("B"), under("north") + under("south") + under("west", "cat dog eel")]
)
def test_folders_with_the_same_folders_are_no_classes(names: list[str]) -> None:
    outer = sorted({name.split("/")[0] for name in names})
    with refused(
        "look like parts", f"\"folder(path='/p', test='{outer[-1]}')\"", "depth=1)", "depth=2)", ", ".join(outer)
    ):
        layout_of(names)
    layout = layout_of(names, test=outer[-1])
    assert bases(layout) == {"train": outer[:-1], "test": outer[-1:]}
    assert bases(layout_of(names, depth=1)) == {"train": [""]}
    assert layout_of(names, depth=2).depth == 2


@pytest.mark.parametrize("pattern", ["fold{}", "Fold {}", "fold_{:02}", "cv{}", "kfold-{}"])
def test_folds_ask_for_the_test_part(pattern: str) -> None:
    folds = [pattern.format(number) for number in (1, 2, 10)]
    for wrapping in ("", "audio/"):
        names = [name for fold in folds for name in under(f"{wrapping}{fold}")]
        with refused(f"has the folds {', '.join(folds)}", f"test='{folds[-1]}')\""):
            layout_of(names)
        for test in (folds[1], folds[1].upper()):
            layout = layout_of(names, test=test)
            assert layout.folds == (1, 10)
            assert bases(layout) == {"train": [wrapping + folds[0], wrapping + folds[2]], "test": [wrapping + folds[1]]}
        layout = layout_of(names, test=folds[1], val=folds[0])
        assert [part.kind for part in layout.parts] == ["train", "val", "test"]


def test_other_readings_are_refused_with_the_text_to_type() -> None:
    with refused("could be it", "test, testing", "test='test')\""):
        layout_of([*under("train"), *under("test"), *under("testing")])
    assert bases(layout_of([*under("train"), *under("test"), *under("testing")], test="testing"))["test"] == ["testing"]
    with refused("several (setA, setB)", "folder(path='/p/setA')"):
        layout_of([*under("setA/train"), *under("setA/test"), *under("setB/train"), *under("setB/test")])
    with refused("/p/train/ must hold a folder for each class", "labels='labels.csv'"):
        layout_of([*flat("train"), *flat("test")])
    with refused("beside it car", "folder(path='/p/train')", "folder(path='/p', depth=1)"):
        layout_of([*under("train", "steam diesel"), *flat("car")])
    with refused("has parts in its class folders (test, train in each of cat, dog)", "as in train/cat", "depth=1)"):
        layout_of([*under("cat", "train test"), *under("dog", "train test")])
    with refused("test must name one of the folders", "'fold9'", "there are fold1, fold2"):
        layout_of([*under("fold1"), *under("fold2")], test="fold9")
    with refused("test must name a folder that holds folders of the classes"):
        layout_of([*under("a"), *flat("b")], test="b")
    with refused("must hold training images in folders of the same classes as a/ (cat, dog); beside it there are b"):
        layout_of([*under("a"), *flat("b")], test="a")
    with refused("beside each other"):
        layout_of([*under("a/one"), *under("a/two"), *under("b/three")], test="two", val="three")


def test_a_name_that_was_typed_is_found_wherever_it_is() -> None:
    names = [*under("data/cam1"), *under("data/cam2"), *under("data/cam3")]
    for test in ("cam3", "data/cam3", "data/cam3/"):
        assert bases(layout_of(names, test=test)) == {"train": ["data/cam1", "data/cam2"], "test": ["data/cam3"]}


# ---- levels


def test_folders_in_class_folders_are_named_and_depth_takes_them() -> None:
    names = [*under("cat", "persian siamese"), *under("dog", "pug beagle")]
    layout = layout_of(names)
    assert (layout.depth, len(layout.notes)) == (1, 1)
    assert "cat/persian, cat/siamese, dog/beagle, dog/pug" in layout.notes[0]
    assert "\"folder(path='/p', depth=2)\"" in layout.notes[0]
    assert (layout_of(names, depth=2).depth, layout_of(names, depth=2).notes) == (2, ())
    assert layout_of([*under("cat", "images"), *under("dog", "images")]).notes == ()
    for depth in (0, 3, -1):
        with refused(f"1 to 2, got {depth}", "the first is cat, dog"):
            layout_of(names, depth=depth)
    parts = [f"{part}/{name}" for part in ("train", "test") for name in names]
    assert bases(layout_of(parts, depth=2)) == {"train": ["train"], "test": ["test"]}


# ---- any layout


ODD = ["new\nline", "\x1b[2J", "\udcff", "\u202e", "it's", 'a"b', "$x", "C:\\", " "]
WORDS = st.sampled_from(["cat", "dog", "eel", "1", "2", "A", "b c", "tràin", "images", *ODD])
PATHS = st.lists(
    st.one_of(
        WORDS, st.sampled_from([*TRAIN.split()[:4], *VAL.split()[:3], *TEST.split()[:3], "predict", "fold1", "fold2"])
    ),
    max_size=4,
).map("/".join)


@settings(deadline=None)
@given(
    st.dictionaries(PATHS, st.integers(0, 2), max_size=12),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, "x", "2"]),
)
def test_any_listing_has_a_layout_or_one_clear_line(
    folders: dict[str, int], depth: int | None, test: str | None
) -> None:
    names = [f"{folder}/{i}.png".lstrip("/") for folder, n in folders.items() for i in range(n)]
    names += [f"{folder}/" for folder in folders if folder]
    layout = _layout_or_line(names, depth, test)
    if layout is None:
        return
    paths = [part.base.path for part in layout.parts]
    assert len(set(paths)) == len(paths)
    assert [part.kind for part in layout.parts] == sorted(
        [part.kind for part in layout.parts], key="train val test".index
    )
    assert layout.parts[0].kind == "train"
    if any(folders.values()) and any("/" in name for name in names) and test is None and layout.parts[0].name:
        assert layout.parts[0].n_images
    assert all(note.isprintable() and note for note in layout.notes)


def test_a_validation_part_that_has_to_train_does_not_validate_too() -> None:
    names = [f"{part}/{label}/{i}.png" for part in ("val", "fold2") for label in "ab" for i in range(2)]
    layout = layout_of(names, test="fold2")
    assert [(part.kind, part.name) for part in layout.parts] == [("train", "val"), ("test", "fold2")]


def _layout_or_line(names: list[str], depth: int | None, test: str | None) -> Layout | None:
    try:
        return layout_of(names, depth=depth, test=test)
    except PocketlensError as error:
        line = str(error)
    assert line.isprintable()
    return None


def _splits() -> Iterator[tuple[str, str]]:
    yield from zip(TRAIN.split(), TEST.split(), strict=False)


@settings(deadline=None)
@given(
    st.sampled_from(list(_splits())),
    st.sampled_from(["", "x/", "data set/x/", "a/b/c/"]),
    st.sampled_from(["", "/again", "/images"]),
    st.sets(st.sampled_from(["cat", "dog", "Eel", "9", "train", "test"]), min_size=2),
    st.sampled_from([[], ["LICENSE"], ["notes/readme.txt", "empty/"]]),
)
def test_parts_are_found_under_any_name_wrapped_and_doubled(
    names: tuple[str, str], wrapping: str, doubled: str, classes: set[str], beside: list[str]
) -> None:
    listing = [*beside]
    for part in names:
        listing += [f"{wrapping}{part}{doubled}/{name}/1.jpg" for name in classes]
    assert bases(layout_of(listing)) == {
        "train": [f"{wrapping}{names[0]}{doubled}"],
        "test": [f"{wrapping}{names[1]}{doubled}"],
    }


@settings(deadline=None)
@given(st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=6)))
def test_the_text_to_type_means_what_it_says(name: str) -> None:
    typed = Asked(Component("folder", (("path", "/p"),))).text(test=name, depth=2, size=None)
    assert typed.isprintable()
    (word,) = shlex.split(typed)
    assert parse_one(word, "datasets").options == (("path", "/p"), ("test", name), ("depth", 2))
