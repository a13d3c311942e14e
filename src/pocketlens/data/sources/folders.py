"""Where data is searched, in this order: `--data`, `$POCKETLENS_DATA`, the user's cache."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from pocketlens.data.fit import Form
from pocketlens.data.sizes import Aim
from pocketlens.data.split import HOLD_OUT_VERSION
from pocketlens.errors import PocketlensError
from pocketlens.events import Tally
from pocketlens.files import cache_folder
from pocketlens.text import path_hint


@dataclass(frozen=True)
class Folders:
    """The folders in which data sets are searched, and how what is found there is read.

    Attributes:
        data: the folder that a person named with `--data`, or None.
        hold_out: the version of the rule by which test rows are held out where none are official.
        aim: what pictures are sized for where no size is typed; None: they must have one size, and keep it.
        form: of images that a trained model is to judge, the form that it takes; None: the data decides.
        tally: to which reading many files says how far it is.
    """

    data: Path | None = None
    hold_out: int = HOLD_OUT_VERSION
    aim: Aim | None = None
    form: Form | None = None
    tally: Tally = field(default_factory=Tally, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.data is not None and not self.data.is_dir():
            raise PocketlensError(
                f"--data must be a folder that exists, got {str(self.data)!r}.{path_hint(self.data, '--data')}"
            )

    def roots(self) -> list[Path]:
        """The folders that are named, first to last; the user's cache is always the last one."""
        named = os.environ.get("POCKETLENS_DATA")
        return [root for root in (self.data, Path(named) if named else None, downloads()) if root is not None]

    def candidates(self, name: str) -> list[Path]:
        """The folders that may hold the data set `name`: `name` below every root, relatives (`name-…`), the root."""
        found: list[Path] = []
        for root in self.roots():
            relatives = sorted(root.glob(f"{name}[-_]*")) if root.is_dir() else []
            found += [folder for folder in (root / name, *relatives, root) if folder.is_dir()]
        return found

    def place(self, name: str) -> Path:
        """The folder in which a person should put the files of the data set `name`."""
        return self.roots()[0] / name


def downloads() -> Path:
    """Where downloaded files are kept: the folder `data` of the user's cache."""
    return cache_folder() / "data"
