"""Recognises the layout of a folder of images from the names in it.

Where two readings are possible, the person is told both, each as the text to type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pocketlens.data.sources.folder_tree import Folder
from pocketlens.data.sources.layout import Asked, Kind, Layout, Part, Siblings, listed_names, names_of, path_of
from pocketlens.data.sources.layout_checks import check_classes
from pocketlens.data.sources.layout_notes import (
    describe_empty,
    describe_nested,
    describe_parts,
    describe_tables,
    describe_unlabelled,
    describe_unused,
)
from pocketlens.data.sources.part_names import Role, are_folds, fold_numbers, is_same_name, roles_of
from pocketlens.errors import PocketlensError, nearest
from pocketlens.text import counted, printable

_ASIDE = frozenset(
    "doc docs documentation figures assets screenshots example examples notebooks results outputs".split()
)
_LEVELS = 4  # down to which parts are looked for below wrapping folders


def recognise(root: Folder, asked: Asked) -> Layout:
    """The layout of a folder of images.

    Raises:
        PocketlensError: it has two readings, or what was asked for is not there.
    """
    test, val = _named(root, asked, "test"), _named(root, asked, "val")
    named = test or val
    if named is None:
        level = _level(root, asked)
        found = Siblings(level, asked)
        return _of_parts(found, root) if _has_parts(level) else _of_classes(found, root)
    level = _parent(root, named)
    if val is not None and val not in level.folders:
        raise PocketlensError(f"test and val must lie beside each other, got {path_of(named)} and {path_of(val)}.")
    return _of_parts(Siblings(level, asked, test, val), root)


# ---- where the parts or the classes lie


def _level(root: Folder, asked: Asked) -> Folder:
    """The folder that holds the parts, or else the classes: below wrapping folders that hold nothing else."""
    level = root
    while not _has_parts(level):
        holders = [folder for folder in level.filled if _holds_parts(folder, _LEVELS)]
        if len(holders) > 1:
            raise PocketlensError(
                f"{asked.shown} must have one training and one test part, and has several ({names_of(holders)}); "
                f"choose one of these folders: {asked.below(holders[0])}."
            )
        if holders:
            level = holders[0]
        elif (inner := _wrapped(level)) is not None:
            level = inner
        else:
            return level
    return level


def _wrapped(level: Folder) -> Folder | None:
    """The one folder with folders of images in it, beside which there are none, or such as `docs` and `examples`."""
    inner = [folder for folder in level.filled if folder.name.casefold() not in _ASIDE] or list(level.filled)
    return inner[0] if len(inner) == 1 and inner[0].filled else None


def _has_parts(level: Folder) -> bool:
    """Whether a training part with class folders, and another part, lie directly in a folder."""
    roles = roles_of([folder.name for folder in level.folders])
    trains = [folder for folder in level.folders if roles.get(folder.name) == "train" and folder.filled]
    return len(set(roles.values())) > 1 if trains else bool(_implied(level))


def _implied(level: Folder) -> list[Folder]:
    """What trains beside a test part where nothing is called so: the one other folder of classes, or folds."""
    roles = roles_of([folder.name for folder in level.folders])
    rest = [folder for folder in level.filled if folder.name not in roles]
    others = [folder for folder in level.filled if roles.get(folder.name) in ("test", "predict")]
    inside = [{inner.name.casefold() for inner in class_base(folder).filled} for folder in rest]
    if not others or "train" in roles.values() or not (len(rest) == 1 or are_folds([each.name for each in rest])):
        return []
    if any(folder.n_images for folder in rest) or any(len(names) < 2 for names in inside):
        return []
    labelled = [{inner.name.casefold() for inner in class_base(folder).filled} for folder in others if folder.filled]
    return rest if all(names & each for names in labelled for each in inside) else []


def _holds_parts(folder: Folder, levels: int) -> bool:
    return _has_parts(folder) or (levels > 1 and any(_holds_parts(inner, levels - 1) for inner in folder.filled))


def class_base(folder: Folder, known: set[str] | None = None) -> Folder:
    """Where the class folders of a part lie: below folders that hold nothing else, as in `seg_train/seg_train`."""
    while len(folder.filled) == 1 and folder.filled[0].filled and folder.filled[0].name.casefold() not in (known or ()):
        folder = folder.filled[0]
    return folder


def _parent(root: Folder, folder: Folder) -> Folder:
    path = folder.path.rpartition("/")[0]
    return next((found for found in root.walk(path.count("/") + 1) if found.path == path), root)


def _named(root: Folder, asked: Asked, kind: Kind) -> Folder | None:
    """The folder that was typed for a part: by its path, or by its name where it is the only one at its level."""
    typed = asked.test if kind == "test" else asked.val
    if typed is None or (kind == "val" and typed == "validation"):
        return None
    path = typed.strip("/")
    every = list(root.walk(max(_LEVELS, path.count("/") + 1)))
    found = [folder for folder in every if folder.path == path]
    for same in (str.__eq__, is_same_name):
        if not found:
            alike = [folder for folder in every if same(path, folder.name)]
            top = min((folder.path.count("/") for folder in alike), default=0)
            found = [folder for folder in alike if folder.path.count("/") == top]
    if len(found) == 1:
        return found[0]
    there = found or list(_level(root, asked).folders)
    near = None if found else nearest(path, [folder.path for folder in (*there, *every)])
    raise PocketlensError(
        f"{kind} must name one of the folders in {asked.shown}, got {printable(typed)!r}; there are "
        f"{listed_names([folder.path for folder in there]) or 'none'}.{asked.hint(kind, near)}"
    )


@dataclass(frozen=True)
class _Held:
    """The validation and test parts; `is_swapped` where the only one, a validation part, becomes the test part."""

    parts: tuple[Part, ...]
    is_swapped: bool


def _held(found: Siblings, vals: tuple[Part, ...], tests: tuple[Part, ...]) -> _Held:
    asked = found.asked
    if asked.val is not None and not vals:
        raise PocketlensError(
            f"val must name a folder that holds validation images in class folders; {asked.shown} has "
            f"{names_of(found.level.folders)}."
        )
    if vals and not tests and asked.val is None and not asked.has_other_test:
        return _Held(_as_tests(vals), True)
    return _Held((*vals, *tests), False)


# ---- folders that are parts


def _of_parts(found: Siblings, root: Folder) -> Layout:
    """The layout where the folders beside each other are parts, by their names or because the person says so."""
    asked = found.asked
    trains = _training_parts(found)
    known = {name for part in trains for name in part.names}
    training = {part.name for part in trains}  # val/ too, where nothing else is left to train on
    vals = tuple(part for part in _labelled_parts(found, "val", known) if part.name not in training)
    tests = () if asked.has_other_test else _labelled_parts(found, "test", known)
    if len(tests) > 1:
        raise PocketlensError(
            f"{asked.shown} must have one test part, and {listed_names([part.name for part in tests])} could be it; "
            f"say which one: {asked.text(test=tests[0].name)}."
        )
    held = _held(found, vals, tests)
    parts = (*trains, *held.parts)
    names = [part.name for part in trains]
    numbers = fold_numbers(names) or {name: number for number, name in enumerate(names, 1)}
    others = [
        folder for folder in found.of_role("predict", "test", "val") if folder.name not in {part.name for part in parts}
    ]
    unlabelled = [each for each in others if not _is_labelled(_held_part("test", each, known, asked), known)]
    notes = (
        describe_parts(parts, asked, is_swapped=held.is_swapped),
        *describe_empty(parts, asked),
        *describe_tables(parts),
        *describe_unlabelled(unlabelled, asked),
        *describe_unused(root, found.level, parts, unlabelled),
        *describe_nested(parts, asked),
    )
    folds = tuple(numbers[name] for name in names) if len(names) > 1 else ()
    return Layout(parts, folds, _checked_depth(trains, asked), notes)


def _training_parts(found: Siblings) -> tuple[Part, ...]:
    """The parts that train: those called so; else what holds the same classes as the part that was named."""
    named = (found.test, found.val)
    trains = [folder for folder in found.of_role("train") if folder.filled] or _implied(found.level)
    trains = [folder for folder in trains if folder not in named]
    if trains:
        return _as_training(trains)
    kinds: tuple[Kind, ...] = ("test", "val")
    for kind, folder in zip(kinds, named, strict=True):
        if folder is not None and not folder.folders:
            raise PocketlensError(_without_classes(kind, folder, found.asked))
    given = [folder for folder in named if folder is not None]
    rest = [folder for folder in found.level.filled if folder not in given]
    wanted = {folder.name.casefold() for each in given for folder in class_base(each).folders}
    unnamed = [folder for folder in rest if folder.name not in found.roles]
    for folders in (unnamed, rest):
        alike = [
            folder for folder in folders if wanted & {inner.name.casefold() for inner in class_base(folder).filled}
        ]
        if alike:
            return _as_training(alike)
    without = tuple(each.name for each in found.level.folders if each in given or each.name in found.roles)
    whole = Part("train", found.level, "", without)
    if wanted & {folder.name.casefold() for folder in whole.classes}:
        return (whole,)
    raise PocketlensError(
        f"{found.asked.shown} must hold training images in folders of the same classes as {path_of(given[0])} "
        f"({names_of(class_base(given[0]).folders)}); beside it there are {names_of(rest)}."
    )


def _as_training(folders: list[Folder]) -> tuple[Part, ...]:
    """Training parts of these folders, folds in the order of their numbers."""
    numbers = fold_numbers([folder.name for folder in folders])
    ordered = sorted(folders, key=lambda folder: numbers[folder.name]) if numbers else folders
    return tuple(Part("train", class_base(folder), folder.name) for folder in ordered)


def _labelled_parts(found: Siblings, kind: Kind, known: set[str]) -> tuple[Part, ...]:
    """The parts of a kind that have class folders: the one that was named, else those called so.

    Raises:
        PocketlensError: the one that was named has none.
    """
    named = found.test if kind == "test" else found.val
    folders = [named] if named is not None else found.of_role("val" if kind == "val" else "test")
    parts = tuple(_held_part(kind, folder, known, found.asked) for folder in folders)
    labelled = tuple(part for part in parts if _is_labelled(part, known))
    if named is not None and not labelled:
        raise PocketlensError(_without_classes(kind, named, found.asked))
    return labelled


def _held_part(kind: Kind, folder: Folder, known: set[str], asked: Asked) -> Part:
    labels = asked.labels.get(folder.path)
    return Part(kind, class_base(folder, known) if labels is None else folder, folder.name, labels=labels)


def _without_classes(kind: Kind, folder: Folder, asked: Asked) -> str:
    inside = f"the folders {names_of(folder.folders)}" if folder.folders else "no folders"
    return f"{kind} must name a folder that holds folders of the classes, and {path_of(folder, asked)} holds {inside}."


def _as_tests(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(replace(part, kind="test") for part in parts)


def _is_labelled(part: Part, known: set[str]) -> bool:
    """Whether a part has class folders, or no image at all; a single folder, such as `unknown`, must be a class."""
    base = part.base
    if not base.n_below or part.labels is not None:
        return True
    if len(base.filled) == 1:
        return base.filled[0].name.casefold() in known
    return bool(base.filled)


# ---- folders that are classes


def _of_classes(found: Siblings, root: Folder) -> Layout:
    """The layout where the folders beside each other are the classes."""
    asked, level = found.asked, found.level
    among = [] if asked.depth is not None else _parts_among_classes(found)
    inner = [folder for folder in among if folder.filled or folder.path in asked.labels]
    unlabelled = [folder for folder in among if folder not in inner]
    if asked.depth is None:
        check_classes(level, asked)
        _check_training_folder(found)
        _check_alike(found, [folder for folder in level.filled if folder not in among])
    whole = Part("train", level, "", tuple(folder.name for folder in among))
    tests = tuple(_held_part("test", each, set(), asked) for each in inner if found.roles[each.name] == "test")
    vals = tuple(_held_part("val", each, set(), asked) for each in inner if found.roles[each.name] == "val")
    held = _held(found, vals, tests)
    parts = (whole, *held.parts)
    notes = [describe_parts(parts, asked, is_swapped=held.is_swapped)] if inner else []
    if level.path:
        notes.append(f"the class folders are those in {path_of(level)}: {names_of(whole.classes)}")
    notes += [*describe_tables(parts), *describe_unlabelled(unlabelled, asked, depth=1)]
    notes += describe_unused(root, level, parts, unlabelled)
    notes += describe_nested(parts, asked)
    return Layout(parts, (), _checked_depth([whole], asked), tuple(notes))


def _parts_among_classes(found: Siblings) -> list[Folder]:
    """Parts beside class folders: `test/` with folders of the same classes, or with images and no folders."""
    roles = {name: role for name, role in found.roles.items() if role != "train"}
    classes = {folder.name.casefold() for folder in found.level.filled if folder.name not in roles}
    if len(classes) < 2:
        return []
    called = [folder for folder in found.level.filled if folder.name in roles]
    inner = [each for each in called if each.filled and {it.name.casefold() for it in each.filled} <= classes]
    rest = [each for each in called if each not in inner]
    return [*inner, *(each for each in rest if each.path in found.asked.labels or _is_flat(each, roles))]


def _is_flat(folder: Folder, roles: Mapping[str, Role]) -> bool:
    """Whether it is called a part whose images may be without labels, and holds images and no folders of them."""
    return not folder.filled and roles[folder.name] in ("test", "predict")


def _check_training_folder(found: Siblings) -> None:
    """Refuses `train/` and `test/` without class folders, and `train/` with class folders beside folders of others."""
    asked, level = found.asked, found.level
    trains = [folder for folder in level.filled if found.roles.get(folder.name) == "train"]
    others = [folder for folder in level.filled if folder not in trains]
    if not trains:
        return
    if not trains[0].filled and all(folder.name in found.roles for folder in level.filled):
        raise PocketlensError(
            f"{path_of(trains[0], asked)} must hold a folder for each class, or a CSV must give the labels, as in "
            f"{asked.text(labels='labels.csv')}."
        )
    if len(trains[0].filled) > 1 and not trains[0].n_images and others:
        raise PocketlensError(
            f"{asked.shown} has folders of classes in {path_of(trains[0])}, and beside it {names_of(others)}; to use "
            f"{path_of(trains[0])} alone, {asked.below(trains[0])}; if the outer folders are the classes, give "
            f"{asked.text(depth=1)}."
        )


def _check_alike(found: Siblings, folders: Sequence[Folder]) -> None:
    """Refuses folders that all hold the same folders: they are parts or folds, not classes."""
    if len(folders) < 2 or any(folder.n_images for folder in folders):
        return
    inside = [{inner.name.casefold(): inner.name for inner in class_base(folder).filled} for folder in folders]
    shared, union = set.intersection(*map(set, inside)), set.union(*map(set, inside))
    if len(shared) < 2 or 2 * len(shared) < len(union):
        return
    asked, numbers = found.asked, fold_numbers([folder.name for folder in folders])
    names = [folder.name for folder in folders]
    names = sorted(names, key=lambda name: numbers[name]) if numbers else names
    test = next((name for name in names if found.roles.get(name) == "test"), names[-1])
    both_names = [inside[0][name] for name in sorted(shared)]
    outer, both = listed_names(names), listed_names(both_names)
    inner_roles = set(roles_of(both_names).values())
    if len(inner_roles) > 1 and "train" in inner_roles:
        raise PocketlensError(
            f"{asked.shown} has parts in its class folders ({both} in each of {outer}); put the parts above the "
            f"classes, as in {both_names[-1]}/{printable(names[0])}, or take the class folders whole: "
            f"{asked.text(depth=1)}."
        )
    if are_folds(names):
        raise PocketlensError(
            f"{asked.shown} has the folds {outer}; one must be the test part, so say which: {asked.text(test=test)}."
        )
    raise PocketlensError(
        f"{asked.shown} has folders that all hold the same folders ({both}), so {outer} look like parts, not like "
        f"classes: if one is the test part, give {asked.text(test=test)}; if one is all that is wanted, "
        f"{asked.below(folders[0])}; if {both} are the classes of all of them, give {asked.text(depth=2)}; if {outer} "
        f"are the classes, give {asked.text(depth=1)}."
    )


def _checked_depth(trains: Sequence[Part], asked: Asked) -> int:
    depth = 1 if asked.depth is None else asked.depth
    n_levels = max((1 + folder.n_levels for part in trains for folder in part.classes), default=1)
    if not 1 <= depth <= n_levels:
        levels = counted(n_levels, "level")
        raise PocketlensError(
            f"depth must be a level of folders with images, 1 to {n_levels}, got {depth}; "
            f"{path_of(trains[0].base, asked)} has {levels}, the first is {names_of(trains[0].classes)}: "
            f"{asked.text(depth=None)}."
        )
    return depth
