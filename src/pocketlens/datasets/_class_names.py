"""The rows of images whose file names begin with their class, such as `cat.0.jpg` or `Abyssinian_100.jpg`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pocketlens.data.images import SUFFIXES
from pocketlens.data.sources.columns import BY_NAMES, part_of
from pocketlens.data.sources.layout import Asked
from pocketlens.data.sources.other_files import suffix_of
from pocketlens.datasets._listing import Listing
from pocketlens.datasets._table_parts import with_parts
from pocketlens.errors import PocketlensError
from pocketlens.text import class_order, counted, listed, printable

_SHOWN = 5  # classes, and names


def list_by_names(root: Path, names: Sequence[str], asked: Asked) -> Listing:
    """The rows of the images below a folder: the class is what stands before the number at the end of the name.

    A folder in the path that is called like a part makes the image one of that part. Images that are only numbered have
    no label and are left out.

    Raises:
        PocketlensError: no image has a text before a number, or the parts do not fit together.
    """
    pictures = _pictures(names)
    labels = [_class_in(name) for name in pictures]
    rows = [(name, label) for name, label in zip(pictures, labels, strict=True) if label]
    if not rows:
        raise PocketlensError(
            f"labels={BY_NAMES!r} takes the class from names such as cat.0.jpg; no image in {asked.shown} has a text "
            f"before its number. Type {asked.text(labels=None)} for class folders or a table."
        )
    files, classes = tuple(name for name, _ in rows), tuple(label for _, label in rows)
    notes = [f"labels from the names of the files: {_described(classes)}"]
    if len(rows) < len(pictures):
        n_left = counted(len(pictures) - len(rows), "image")
        notes.append(f"{n_left} without a text before the number in the name not used")
    listing = Listing(
        tuple(root / name for name in files), files, classes, tuple(class_order(classes)), notes=tuple(notes)
    )
    parts = [next(filter(None, map(part_of, name.split("/")[:-1])), "train") for name in files]
    has_parts = len(set(parts)) > 1 or asked.test is not None or asked.val is not None
    return with_parts(listing, parts, asked) if has_parts else listing


def refuse_unsorted(names: Sequence[str], asked: Asked) -> None:
    """Refuses images that all lie in one folder, or in folders of parts, where their names look like classes."""
    named = [(name, label) for name in _pictures(names) if (label := _class_in(name))]
    places = {"/".join(each for each in name.split("/")[:-1] if part_of(each) is None) for name, _ in named}
    counts = Counter(label for _, label in named)
    if len(places) == 1 and 2 <= len(counts) <= len(named) // 2:
        raise PocketlensError(
            f"{asked.shown} must have a folder for each class, or a table of labels. The names of its images begin "
            f"with {_described([label for _, label in named])}: if these are the classes, type "
            f"{asked.text(labels=BY_NAMES)}; else write a CSV with the columns file and label and type "
            f"{asked.text(labels='labels.csv')}."
        )


def _pictures(names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if suffix_of(name).lower() in SUFFIXES)


def _class_in(name: str) -> str:
    """The text before the number at the end of a name without suffix; "" where it has no number or nothing else."""
    text, n_changed = re.subn(r"[\W_]*\d[\W\d_]*$", "", PurePosixPath(name).stem)
    return text if n_changed else ""


def _described(labels: Sequence[str]) -> str:
    return listed([f"{printable(name)} ({n:,})" for name, n in sorted(Counter(labels).items())], _SHOWN)
