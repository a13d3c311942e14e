"""A session of `auto`: a folder with its state, its studies and its pages, a clock of working time, and a lock.

A session that was killed is found again by its request and resumes with what is missing. Whatever a phase makes lies in
the session's folder or in a run named after the session, so that a phase that was cut short finds its own work.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from pocketlens.data.dataset import Loaded
from pocketlens.datasets import absent, load
from pocketlens.errors import PocketlensError
from pocketlens.events import Note, Stage
from pocketlens.files import new_id, read_json, write_json
from pocketlens.locks import try_lock
from pocketlens.pipeline.phase_result import PhaseResult
from pocketlens.pipeline.state import AutoRequest, AutoState
from pocketlens.recipe import Recipe
from pocketlens.text import format_duration

FOLDER = "autos"  # below the folder of runs
SECONDS_BETWEEN_SAVES = 5.0  # of the clock


class AutoSession:
    """One session, as a folder; `state` is what auto.json holds.

    Args:
        began: the monotonic time since when this process has worked on it; by default now.
    """

    def __init__(self, path: Path, state: AutoState, began: float | None = None) -> None:
        self.path, self.state = path, state
        self._began = time.monotonic() if began is None else began
        self._spent_before = state.spent
        self._saved = time.monotonic()

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def limit(self) -> float:
        """Seconds that everything may take, apart from the folds."""
        return 60.0 * self.state.request.minutes - self.state.folded

    @property
    def spent(self) -> float:
        """Seconds of work so far, apart from the folds."""
        return self.worked - self.state.folded

    @property
    def worked(self) -> float:
        """Seconds of work so far, including those before a kill (except the last few of them)."""
        return self._spent_before + time.monotonic() - self._began

    def stage(self, phase: str) -> Stage:
        """The stage of a phase that has finished."""
        result = self.state.done[phase]
        return Stage(phase, result.lines, dict(result.facts))

    def resume_stage(self) -> Stage:
        """What has been done and spent before this process resumed the session."""
        done = ", ".join(self.state.done) or "nothing"
        spent = self.spent_in_words()
        return Stage("resume", (f"resuming session {self.id}: {done} done, {spent}",), {"session": self.id})

    def opening(self, *, has_begun: bool) -> Iterator[Stage | Note]:
        """What a person should know first: that the session goes on, or that one of the same images does not."""
        moved = None if has_begun else _find_moved(self.state.request, self.path)
        if has_begun:
            yield self.resume_stage()
        elif moved is not None:
            yield Note(
                f"session {moved.id} of the same images is unfinished ({moved.spent_in_words()}), and its data no "
                f"longer lies at {absent(moved.state.request.text)}, so a new session begins; to continue it instead, "
                "move the data back, or link to it there, and run auto there"
            )

    def spent_in_words(self) -> str:
        """How much of the time is spent."""
        return f"{format_duration(self.worked)} of {format_duration(60.0 * self.state.request.minutes)} spent"

    def save(self, state: AutoState | None = None) -> None:
        """Writes auto.json: the given state, or the present one with the clock moved on."""
        self.state = replace(state or self.state, spent=round(self.worked, 2))
        write_json(self.path / "auto.json", self.state.to_dict())
        self._saved = time.monotonic()

    def save_clock(self) -> None:
        """Writes auto.json if the last time is more than a few seconds ago."""
        if time.monotonic() - self._saved > SECONDS_BETWEEN_SAVES:
            self.save()

    def finish_phase(self, stage: Stage, base: Recipe | None = None) -> Stage:
        """Records that a phase has finished, and the recipe it chose, if any; returns the stage."""
        done = {**self.state.done, stage.name: PhaseResult(stage.lines, stage.facts, round(self.worked, 2))}
        self.save(replace(self.state, done=done, base=base or self.state.base))
        return stage


@contextmanager
def open_session(fresh: AutoState, runs: Path, began: float) -> Iterator[AutoSession]:
    """The newest unfinished session with the request of `fresh` that no process holds, or a new one that begins so.

    The session stays locked for this process until the block ends.

    Args:
        began: the monotonic time since when the work has been going on.

    Raises:
        PocketlensError: the folder cannot be written.
    """
    folder = runs / FOLDER
    with ExitStack() as locks:
        try:
            session = _resume(fresh.request, folder, began, locks) or _create(fresh, folder, began, locks)
            session.save()
        except OSError as error:
            raise PocketlensError(f"{folder} must be a folder that can be written: {error.strerror}.") from None
        yield session


def find_unfinished(text: str, minutes: float, open_again: bool, runs: Path, *, seed: int = 0) -> AutoState | None:
    """The state of the newest unfinished session that was started for the same, whatever its data is now."""
    for path in _session_folders(runs / FOLDER):
        state = _read_unfinished(path)
        request = None if state is None else state.request
        if request is None or request.seed != seed:
            continue
        if (request.text, request.minutes, request.open_again) == (text, minutes, open_again):
            return state
    return None


def _find_moved(request: AutoRequest, own: Path) -> AutoSession | None:
    """The newest unfinished session of the same images and wishes as that in `own`, whose data is no longer there."""
    for path in _session_folders(own.parent):
        state = None if path == own else _read_unfinished(path)
        text = request.text if state is None else state.request.text
        if state is None or text == request.text or absent(text) is None:
            continue
        if replace(state.request, text=request.text).is_resumed_by(request):
            return AutoSession(path, state)
    return None


def find_finished(runs: Path) -> AutoSession | None:
    """The newest session below a folder of runs that has ended with a result; None where there is none."""
    for path in _session_folders(runs / FOLDER):
        state = _read_state(path)
        if state is not None and state.finished == "complete":
            return AutoSession(path, state)
    return None


def load_as_before(state: AutoState, data: Path | None) -> Loaded | None:
    """The data of an unfinished session as it was loaded then; None where that is no longer possible."""
    request = state.request
    try:
        loaded = load(state.data or request.text, data, version=request.hold_out, aim=None)
    except PocketlensError:
        return None  # what is wrong with it is said when it is loaded anew
    return loaded if loaded.dataset.fingerprint == request.fingerprint else None


def close_sessions(text: str, runs: Path) -> list[str]:
    """Closes the unfinished sessions of a data set, so that none of them is resumed; returns their ids.

    Sessions that another process is working on stay as they are.
    """
    closed = []
    for path in _session_folders(runs / FOLDER):
        state = _read_unfinished(path)
        if state is None or state.request.text != text:
            continue
        with ExitStack() as locks:
            state = _read_unfinished(path) if _lock(path, locks) else None
            if state is not None:
                AutoSession(path, state).save(replace(state, finished="given up"))
                closed.append(path.name)
    return closed


def _session_folders(folder: Path) -> list[Path]:
    """The newest first."""
    return sorted((path.parent for path in folder.glob("*/auto.json")), reverse=True) if folder.is_dir() else []


def _read_unfinished(path: Path) -> AutoState | None:
    """The state in a folder; None where the session has finished, is of another version, or is damaged."""
    state = _read_state(path)
    return None if state is None or state.finished else state


def _read_state(path: Path) -> AutoState | None:
    try:
        return AutoState.from_dict(read_json(path / "auto.json"), str(path / "auto.json"))
    except PocketlensError:
        return None  # it must not keep a new session from starting


def _resume(request: AutoRequest, folder: Path, began: float, locks: ExitStack) -> AutoSession | None:
    for path in _session_folders(folder):
        state = _read_unfinished(path)
        if state is None or not state.request.is_resumed_by(request) or not _lock(path, locks):
            continue
        state = _read_unfinished(path)  # again: another process may have written it before the lock was ours
        if state is not None:
            return AutoSession(path, state, began)
    return None


def _create(fresh: AutoState, folder: Path, began: float, locks: ExitStack) -> AutoSession:
    path = folder / new_id(folder)
    path.mkdir(parents=True)
    _lock(path, locks)
    return AutoSession(path, fresh, began)


def _lock(path: Path, locks: ExitStack) -> bool:
    """Takes the session's lock, which ends with `locks` or with the process; False where another process has it."""
    held = try_lock(path / "lock")
    if held is None:
        return False
    locks.enter_context(held)
    return True
