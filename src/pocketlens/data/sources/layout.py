"""The layout of a folder of images: which folders are its parts (train, validation, test, folds), which its classes.

`layout_search.py` recognises it from a listing of names, see `folder_tree.py`; nothing else is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from pocketlens.components import Component
from pocketlens.data.sources import archive
from pocketlens.data.sources.folder_tree import Folder
from pocketlens.data.sources.part_names import Role, roles_of
from pocketlens.text import in_quotes, listed, printable

Kind = Literal["train", "val", "test"]
_SHOWN = 6  # names in a sentence


@dataclass(frozen=True)
class PartLabels:
    """The labels of a part that has no class folders.

    Attributes:
        table: the table that gives them, relative to the root.
        files: the images, relative to the root.
        labels: the name of each one's class.
        notes: what was understood.
    """

    table: str
    files: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What a person has typed.

    Attributes:
        typed: the data set, as it was typed.
        test: the folder that is the test part, relative to the root, or its name; None: it is recognised.
        val: the same for the validation part; "validation" is the recognised one, which otherwise becomes the test part
            where there is no other one.
        depth: the level of folders, below the part that they are in, that are the classes; None: the first one.
        has_other_test: the test part lies elsewhere.
        labels: of the parts without class folders, where tables give them; by the part's path.
    """

    typed: Component
    test: str | None = None
    val: str | None = None
    depth: int | None = None
    has_other_test: bool = False
    labels: Mapping[str, PartLabels] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path of the data set, as it was typed."""
        return str(dict(self.typed.options).get("path", "")).rstrip("/")

    @property
    def shown(self) -> str:
        """The path of the data set, in a sentence."""
        return printable(self.path)

    def text(self, **options: object) -> str:
        """The data set with other options, in quotes, as it can be typed; an option that is None is left out."""
        merged = {**dict(self.typed.options), **options}
        kept = tuple(pair for pair in merged.items() if pair[1] is not None)
        return in_quotes(str(replace(self.typed, options=kept)))

    def hint(self, option: str, near: str | None) -> str:
        """` Did you mean "folder(…)"?`, the data set with the value that an option is likely to mean; "" without it."""
        return "" if near is None else f" Did you mean {self.text(**{option: near})}?"

    @property
    def place(self) -> str:
        """The folder that holds the images: that of the data set, or the one to which its archive is unpacked."""
        ending = next((each for each in archive.SUFFIXES if self.path.lower().endswith(each)), "")
        return self.path.removesuffix(self.path[len(self.path) - len(ending) :]) if ending else self.path

    @property
    def unpacked(self) -> str:
        """What has to be done before a folder in it can be named: nothing, or unpack the archive."""
        return "" if self.place == self.path else "unpack the archive, and "

    def below(self, folder: Folder) -> str:
        """The data set that is a folder of this one, as it can be typed."""
        return f"{self.unpacked}give {self.text(path=f'{self.place}/{folder.path}', test=None, val=None)}"


@dataclass(frozen=True)
class Part:
    """A folder of class folders.

    Attributes:
        kind: what its images are for.
        base: where its class folders lie.
        name: the folder as it is called beside the other parts; "" where it is what holds them.
        without: the folders in `base` that are no classes.
        labels: those of its images, where a table gives them and not class folders.
    """

    kind: Kind
    base: Folder
    name: str = ""
    without: tuple[str, ...] = ()
    labels: PartLabels | None = None

    @property
    def classes(self) -> tuple[Folder, ...]:
        """The class folders that hold images."""
        return tuple(folder for folder in self.base.filled if folder.name not in self.without)

    @property
    def names(self) -> set[str]:
        """The names of its class folders with case folded, also of those without images."""
        return {folder.name.casefold() for folder in self.base.folders if folder.name not in self.without}

    @property
    def n_images(self) -> int:
        """Images in its class folders, or that its table labels."""
        if self.labels is not None:
            return len(self.labels.files)
        return sum(folder.n_below for folder in self.classes)


@dataclass(frozen=True)
class Layout:
    """The parts of a folder of images: those that train first, then validation, then test.

    Attributes:
        folds: the number of each training part where several are joined, in their order; else empty.
        depth: the level of folders below a part's base that are the classes.
        notes: what was understood, and what is not used.
    """

    parts: tuple[Part, ...]
    folds: tuple[int, ...] = ()
    depth: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Siblings:
    """Folders beside each other that are parts or classes, and which of them a person has named as parts."""

    level: Folder
    asked: Asked
    test: Folder | None = None
    val: Folder | None = None

    @cached_property
    def roles(self) -> dict[str, Role]:
        """The parts that the folders hold, by their names."""
        return roles_of([folder.name for folder in self.level.folders])

    def of_role(self, *roles: Role) -> list[Folder]:
        """The folders with these roles that were not named for another one."""
        found = self.roles
        named = (self.test, self.val)
        return [each for each in self.level.folders if found.get(each.name) in roles and each not in named]


def path_of(folder: Folder, asked: Asked | None = None) -> str:
    """A folder in a sentence: `train/`, or with the path of the data set before it."""
    root = "" if asked is None or not asked.path else f"{asked.shown}/"
    return f"{root}{printable(folder.path)}/" if folder.path else root or "./"


def names_of(folders: Sequence[Folder]) -> str:
    """The names of folders in a sentence, or `none`."""
    return listed_names([folder.name for folder in folders]) or "none"


def listed_names(names: Sequence[str]) -> str:
    """The first few of some names, printable."""
    return listed([printable(name) for name in names], _SHOWN)
