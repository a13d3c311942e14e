"""The one way in which files are written: temporary name in the same folder, fsync, rename, fsync of the folder.

A reader sees the old file or the new one, never half of one, whatever kills the writer. Also here: strict JSON
(no NaN), append-only lines that survive a torn last line, and the folders in which pocketlens keeps things.
Windows refuses to replace, remove or open a file for as long as somebody else has it open, so that is tried again.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pocketlens.errors import PocketlensError

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")  # with these a cell begins that is not shown as it is
_SHARES_FILES = sys.platform != "win32"
_PATIENCE, _PAUSE = 2.0, 0.01  # for how long a file is tried again that somebody else has open, and how often; seconds
_T = TypeVar("_T")

RUNS = Path("pocketlens-runs")  # where runs lie, unless another folder is named
LOOKS = Path("pocketlens-looks")  # where looks lie, beside the runs


def write_bytes(path: Path, data: bytes) -> None:
    """Puts `data` at `path` atomically."""
    write_with(path, lambda file: _write_all(file, data))


def write_with(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    """Lets `fill` write a temporary file beside `path`, then renames it to `path` once it is on the disk.

    Raises:
        OSError: the disk is full or the folder cannot be written; `path` is as it was and nothing is left behind.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        replace_file(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def replace_file(source: Path, target: Path) -> None:
    """Renames `source` to `target`, in the place of a file that may stand there.

    Raises:
        OSError: the folder cannot be written, or another program keeps one of the two open.
    """
    patiently(lambda: os.replace(source, target))


def remove_file(path: Path) -> None:
    """Removes a file that is not needed any more; one that another program keeps open stays for the next time."""
    try:
        patiently(lambda: path.unlink(missing_ok=True))
    except PermissionError:
        if _SHARES_FILES:
            raise


def patiently(act: Callable[[], _T]) -> _T:
    """What `act` gives; where files are not shared (Windows), a refusal is waited out for two seconds.

    Raises:
        OSError: `act` has failed for another reason, or for as long.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return act()
        except PermissionError:
            if _SHARES_FILES or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def write_text(path: Path, text: str) -> None:
    """Puts UTF-8 text at `path` atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Puts JSON at `path` atomically. Numbers that are not finite become null: JSON has no NaN."""
    write_text(path, to_json(value, indent=2) + "\n")


def append_json(path: Path, value: Any) -> None:
    """Appends one JSON line and waits until it is on the disk. A torn last line is cut off first."""
    with open(path, "ab+") as file:
        file.seek(0)
        content = file.read()
        end = content.rfind(b"\n") + 1
        if end != len(content):
            file.truncate(end)
        _write_all(file, (to_json(value) + "\n").encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """Reads strict JSON.

    Raises:
        PocketlensError: the file is absent or is not JSON; the message names the file and the line.
    """
    try:
        text = patiently(lambda: path.read_text(encoding="utf-8"))
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates)
    except FileNotFoundError:
        raise PocketlensError(f"{path} must be a file that exists.") from None
    except json.JSONDecodeError as error:
        raise PocketlensError(f"{path} must be JSON; line {error.lineno}: {error.msg}.") from None
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise PocketlensError(f"{path} cannot be read as JSON: {error}.") from None


def read_lines(path: Path) -> Iterator[Any]:
    """The values of a JSON-lines file; a torn last line is left out, an absent file is empty."""
    if not path.exists():
        return
    for line in patiently(path.read_bytes).split(b"\n")[:-1]:
        try:
            yield json.loads(line)
        except ValueError as error:
            raise PocketlensError(f"{path} holds a line that is not JSON: {error}.") from None


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON text with sorted keys off, NaN and infinities as null, and paths as text."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False, ensure_ascii=False, default=str)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV text. A text that a spreadsheet would run as a formula gets a ' before it; `from_cell` takes it away."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_to_cell(name) for name in header])
    writer.writerows([_to_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def from_cell(cell: str) -> str:
    """The text behind a cell of `csv_text`."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _FORMULA else cell


def _to_cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in _FORMULA and value:
        return "'" + value
    return "" if value is None else value


def sync_folder(folder: Path) -> None:
    """Waits until the folder's entries (a rename, a removal) are on the disk; Windows has no way to ask for that."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_folder() -> Path:
    """Where decoded data is kept: `$POCKETLENS_HOME/cache`, else the user's cache folder."""
    import platformdirs

    home = os.environ.get("POCKETLENS_HOME")
    return Path(home) / "cache" if home else platformdirs.user_cache_path("pocketlens")


def ledger_file() -> Path:
    """Where openings of test parts are written down: `$POCKETLENS_HOME/ledger.jsonl`, else the user's data folder."""
    import platformdirs

    home = os.environ.get("POCKETLENS_HOME")
    return (Path(home) if home else platformdirs.user_data_path("pocketlens")) / "ledger.jsonl"


def _write_all(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _finite(value.tolist())
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return result


def new_id(runs: Path) -> str:
    """A name that sorts by time and, where the clock was set back or stands still, by sequence."""
    stamp, number = datetime.now(UTC).strftime("%Y%m%d-%H%M%S"), 0
    names = [path.name for path in runs.iterdir()] if runs.is_dir() else []
    last = max((name for name in names if re.fullmatch(r"\d{8}-\d{6}-\d{4}-[0-9a-f]{4}", name)), default="")
    if last[:15] >= stamp:
        stamp, number = last[:15], int(last[16:20]) + 1
    return f"{stamp}-{number:04d}-{secrets.token_hex(2)}"
