"""What was understood of a layout, in sentences, each with the text to type where something else was meant."""

from __future__ import annotations

from collections.abc import Sequence

from pocketlens.data.sources.folder_tree import Folder
from pocketlens.data.sources.layout import Asked, Part, listed_names, path_of
from pocketlens.text import counted, in_quotes, listed, printable

_SHOWN = 8  # folders and files that are not used


def describe_parts(parts: Sequence[Part], asked: Asked, *, is_swapped: bool) -> str:
    """Which folder is which part; `is_swapped`: a validation part became the test part."""
    filled = [part for part in parts if part.n_images or part.kind == "train"]
    trains, vals, tests = ([part for part in filled if part.kind == kind] for kind in ("train", "val", "test"))
    said = [f"{_counted(trains)} {'train' if len(trains) > 1 else 'trains'}"]
    if vals:
        said.append(f"{_counted(vals)} {'validate' if len(vals) > 1 else 'validates'}")
    if tests:
        said.append(f"{_counted(tests)} is the sealed test part")
    elif asked.has_other_test:
        said.append("the other folder is the sealed test part")
    elif all(part.kind != "test" for part in parts):
        said.append("a fifth of the training images is the sealed test part")
    text = f"parts: {', '.join(said)}"
    if not vals:
        text += "; validation rows are cut from the training images"
    if is_swapped:
        text += f" (to validate on {listed_names([part.name for part in tests])}/ instead, give "
        text += f"{asked.text(val='validation')})"
    return text


def describe_empty(parts: Sequence[Part], asked: Asked) -> list[str]:
    """A line for each part without images; where that is the test part, with what to give to hold images out."""
    trains = [part for part in parts if part.kind == "train"]
    lines = []
    for part in parts:
        if not part.name or part.n_images:
            continue
        lines.append(f"{printable(part.name)}/ holds no images")
        if part.kind == "test" and len(trains) == 1 and trains[0].name:
            lines[-1] += f"; to seal a fifth of the training images instead, {asked.below(trains[0].base)}"
    return lines


def describe_tables(parts: Sequence[Part]) -> list[str]:
    """The lines on each part whose labels stand in a table."""
    return [note for part in parts if part.labels is not None for note in part.labels.notes]


def describe_unlabelled(folders: Sequence[Folder], asked: Asked, *, depth: int | None = None) -> list[str]:
    """A line for each folder of images without labels; `depth` is what to give where it is a class after all."""
    otherwise = "" if depth is None else f"; if it is a class, give {asked.text(depth=depth)}"
    return [
        f"{path_of(folder)} has {_images(folder.n_below)} without labels, not trained on and not tested; "
        f"{asked.unpacked}after training: pocketlens predict last {_in_place(folder, asked)}{otherwise}"
        for folder in folders
        if folder.n_below
    ]


def describe_unused(root: Folder, level: Folder, parts: Sequence[Part], unlabelled: Sequence[Folder]) -> list[str]:
    """A line that names what lies beside the parts, and beside the folders that wrap them."""
    taken = [f"{path}/" for path in (*(part.base.path for part in parts), *(folder.path for folder in unlabelled))]
    has_parts = any(part.name for part in parts)
    tables = {part.labels.table for part in parts if part.labels is not None}
    named: list[str] = []
    folder: Folder | None = root
    while folder is not None:
        inner = next((each for each in folder.folders if f"{level.path}/".startswith(f"{each.path}/")), None)
        if inner is not None or has_parts:
            classes = {each.path for each in parts[0].classes} if not parts[0].name and folder is level else set()
            for each in folder.folders:
                if (
                    each is not inner
                    and each.path not in classes
                    and not any(p.startswith(f"{each.path}/") for p in taken)
                ):
                    named.append(path_of(each) + (f" ({_images(each.n_below)})" if each.n_below else ""))
            files = [f"{folder.path}/{file}" if folder.path else file for file in folder.files]
            named += [printable(file) for file in files if file not in tables]
            named += [f"{_images(folder.n_images)} directly in {path_of(folder)}"] if folder.n_images else []
        folder = inner
    return [f"not used: {listed(named, _SHOWN)}"] if named else []


def describe_nested(parts: Sequence[Part], asked: Asked) -> list[str]:
    """A line where class folders hold folders of their own, unless the person has said which level counts."""
    trains = [part for part in parts if part.kind == "train"] if asked.depth is None else []
    nested = [f"{each.name}/{inner.name}" for part in trains for each in part.classes for inner in each.filled]
    if len({name.rpartition("/")[2] for name in nested}) < 2:  # such as `cat/images`, `dog/images`
        return []
    return [
        f"class folders hold folders of their own ({listed_names(nested)}), whose images belong to the outer class; to "
        f"take the inner ones as the classes, give {asked.text(depth=2)}"
    ]


def _in_place(folder: Folder, asked: Asked) -> str:
    return in_quotes(printable(f"{asked.place}/{folder.path}"))


def _counted(parts: Sequence[Part]) -> str:
    return listed([f"{_name(part)} ({_images(part.n_images)})" for part in parts], _SHOWN)


def _name(part: Part) -> str:
    return (
        f"{printable(part.name)}/"
        if part.name
        else f"the other folders ({listed_names([each.name for each in part.classes])})"
    )


def _images(n: int) -> str:
    return f"{n:,} image" if n == 1 else counted(n, "image")
