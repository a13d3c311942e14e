"""What `auto` has done so far: one JSON file in a folder of its own, a clock that counts working time, and a lock.

A way that was killed is found again by its question and goes on with what is missing. Whatever a phase has made lies
in the way's folder or in a run whose name follows from the way's, so that a phase that was cut short finds it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.events import Stage
from pocketlens.files import new_id, read_json, write_json
from pocketlens.locks import Lock, try_lock
from pocketlens.recipe import Recipe, from_dict

FORMAT = 1
FOLDER = "autos"  # below the folder of runs
EVERY = 5.0  # seconds between two writings of the clock


class Way:
    """One whole way, as a folder that holds auto.json, its studies, and the page of the look."""

    def __init__(self, path: Path, value: dict[str, Any]) -> None:
        self.path, self.value = path, value
        self._began = self._written = time.monotonic()
        self._before = float(value["spent"])

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def limit(self) -> float:
        """Seconds that all may take."""
        return 60.0 * float(self.value["asked"]["minutes"])

    @property
    def spent(self) -> float:
        """Seconds of work so far, those before a kill among them (but for the last few of these)."""
        return self._before + time.monotonic() - self._began

    @property
    def base(self) -> Recipe:
        """The recipe as it was chosen so far."""
        return from_dict(self.value["base"], str(self.path / "auto.json"))

    @property
    def done(self) -> tuple[str, ...]:
        """The phases that have ended."""
        return tuple(self.value["done"])

    def stage(self, phase: str) -> Stage:
        """What a phase that has ended had to say."""
        said = self.value["done"][phase]
        return Stage(phase, tuple(said["lines"]), dict(said["facts"]))

    def note(self, **values: Any) -> None:
        """Writes down some values."""
        self.value.update(values)
        self.write()

    def end(self, stage: Stage, base: Recipe | None = None) -> Stage:
        """Writes down that a phase has ended, with what it says and the recipe that it has chosen; gives the stage."""
        self.value["done"][stage.name] = {"lines": list(stage.lines), "facts": stage.facts}
        if base is not None:
            self.value["base"] = base.to_dict()
        self.write()
        return stage

    def beat(self) -> None:
        """Writes the clock down from time to time."""
        if time.monotonic() - self._written > EVERY:
            self.write()

    def write(self) -> None:
        """Puts everything into auto.json."""
        self.value["spent"] = round(self.spent, 2)
        write_json(self.path / "auto.json", self.value)
        self._written = time.monotonic()


@contextmanager
def open_way(asked: dict[str, Any], base: Recipe, runs: Path, began: float) -> Iterator[Way]:
    """The newest unfinished way of the same question on which no process works, or a new one; locked for this process.

    Args:
        asked: text, minutes, open_again, and the fingerprint of the data.
        began: the monotonic time since which work has gone on.

    Raises:
        PocketlensError: the folder cannot be written.
    """
    folder = runs / FOLDER
    with _found(asked, folder) or _made(asked, base, folder) as way:
        way._began = began
        way.write()
        yield way


def give_up(text: str, runs: Path) -> list[str]:
    """Closes the unfinished ways of a data set, so that none of them is gone on with; gives their ids."""
    closed = []
    for path in _unfinished(runs / FOLDER):
        way = _read(path)
        held = _try_lock(path) if way is not None and way.value["asked"]["text"] == text else None
        if way is not None and held is not None:
            with held:
                way.note(finished="given up")
            closed.append(way.id)
    return closed


def _unfinished(folder: Path) -> list[Path]:
    """The folders of ways, the newest first."""
    return sorted((path.parent for path in folder.glob("*/auto.json")), reverse=True) if folder.is_dir() else []


def _read(path: Path) -> Way | None:
    """The way in a folder where it has not come to its end and can be read."""
    try:
        value = read_json(path / "auto.json")
        if value["format"] != FORMAT or value["finished"]:
            return None
        return Way(path, value)
    except (PocketlensError, KeyError, TypeError):
        return None  # of another version, or damaged: it hinders no new one


def _found(asked: dict[str, Any], folder: Path) -> Any:
    for path in _unfinished(folder):
        way = _read(path)
        if way is None or way.value["asked"] != asked:
            continue
        held = _try_lock(path)
        if held is not None:
            fresh = _read(path)  # what another process may have written before the lock was ours
            if fresh is not None:
                return _holding(fresh, held)
            held.close()
    return None


def _made(asked: dict[str, Any], base: Recipe, folder: Path) -> Any:
    path = folder / new_id(folder)
    try:
        path.mkdir(parents=True)
        held = _try_lock(path)
        value = {"format": FORMAT, "asked": asked, "spent": 0.0, "base": base.to_dict()}
        way = Way(path, {**value, "begun": {}, "done": {}, "finished": ""})
        way.write()
    except OSError as error:
        raise PocketlensError(f"{folder} must be a folder that can be written: {error.strerror}.") from None
    return _holding(way, held)


@contextmanager
def _holding(way: Way, held: Any) -> Iterator[Way]:
    with held:
        yield way


def _try_lock(path: Path) -> Lock | None:
    """The way's lock, or None where another process has it; it ends with the process."""
    return try_lock(path / "lock")
