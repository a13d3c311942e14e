"""The ledger of opened test parts: one line for each opening, written before anything is computed.

It lies with the user's data, not with a run, so that copying, deleting or renaming runs changes nothing. Openings are
matched by the fingerprint of the test images, whatever the name or the format of the files they came from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pocketlens.data.dataset import SealedTest
from pocketlens.errors import PocketlensError
from pocketlens.files import append_json, ledger_file, read_lines
from pocketlens.locks import wait_for_lock


@dataclass(frozen=True)
class Opening:
    """One line of the ledger."""

    time: str  # UTC, ISO 8601
    run: str
    recipe: str  # the recipe's id
    weights: str  # the hash of the weights that were scored
    test: str  # the fingerprint of the test images
    data: str  # the component text that loaded them
    part: str = "test"  # or "on": other data that a person has named

    def to_dict(self) -> dict[str, str]:
        """The line; that it is a test part is not told, as in the lines of before other data could be scored."""
        line = dataclasses.asdict(self)
        if self.part == "test":
            del line["part"]
        return line


def record(sealed: SealedTest, *, run: str, recipe: str, weights: str, part: str = "test") -> list[Opening]:
    """Writes one opening and gives all openings of this test part, this one last. Safe with several writers.

    Raises:
        PocketlensError: the ledger cannot be written; then the test part must stay closed.
    """
    entry = Opening(
        datetime.now(UTC).isoformat(timespec="seconds"), run, recipe, weights, sealed.fingerprint, sealed.text, part
    )
    path = ledger_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            before = openings(sealed)
            append_json(path, entry.to_dict())
    except OSError as error:
        raise PocketlensError(
            f"the test set stays sealed: opening it must be recorded in {path}, which failed ({error.strerror}); "
            "make the file writable, or set POCKETLENS_HOME to another folder."
        ) from None
    return [*before, entry]


def openings(test: SealedTest | str) -> list[Opening]:
    """The openings of a test part (or of the images' fingerprint), oldest first.

    Raises:
        PocketlensError: the ledger cannot be read.
    """
    fingerprint = test if isinstance(test, str) else test.fingerprint
    return [entry for entry in all_openings() if entry.test == fingerprint]


def all_openings() -> list[Opening]:
    """Every line of the ledger, oldest first; none where there is no ledger yet."""
    path = ledger_file()
    return [_opening(line, path) for line in read_lines(path)]


def describe_openings(number: int, total: int) -> str:
    """A sentence for a person: "this test set has been opened 3 times; this is the 3rd opening"."""
    if total == 1:
        return "this test set has been opened once"
    return f"this test set has been opened {total} times; this is the {ordinal(number)} opening"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else last}"


def _opening(line: Any, path: Path) -> Opening:
    names = [field.name for field in dataclasses.fields(Opening) if field.name != "part"]
    if not isinstance(line, dict) or any(not isinstance(line.get(name), str) for name in names):
        raise PocketlensError(f"{path}: every line must be an opening with the strings {', '.join(names)}; repair it.")
    part = line.get("part", "test")  # absent in the lines of before it was known
    return Opening(**{name: line[name] for name in names}, part=str(part))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the ledger's lock; the system lets it go when the process ends, however it ends."""
    held = wait_for_lock(path.with_name(f"{path.name}.lock"))
    assert held is not None
    with held:
        yield
