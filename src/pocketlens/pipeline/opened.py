"""`pl.open_runs` and `pocketlens open`: an index of all runs, studies, sessions and looks, and trainings as they run.

It stands here and not in api/, as it knows the sessions of `auto`. `opened` shows the same while a command works.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlens.api.requests import build, check_runs, signed
from pocketlens.display.browser import show_in_browser
from pocketlens.display.signals import stop_on_signals
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS
from pocketlens.pipeline.sessions import read_sessions

_HOST = "127.0.0.1"
_PATIENCE = 10.0  # seconds that a server has to end


@dataclass(frozen=True)
class OpenRequest:
    """What is opened: the folder of runs; port 0 takes any free one; `browser`: whether one is started."""

    folder: Path = RUNS
    port: int = 0
    browser: bool = True


@dataclass(frozen=True, eq=False)
class Opened:
    """An index that is served.

    Attributes:
        folder: of runs.
        address: of the index, with the token.
        wait: answers until a signal comes, and gives that signal.
        page_address: the address of a page that lies in the folder; of any other, that of the file itself.
    """

    folder: Path
    address: str
    wait: Callable[[], int | None]
    page_address: Callable[[Path], str]


def open_runs(folder: str | Path = RUNS, **options: Any) -> None:
    """Serves an index of a folder of runs on a local page until Ctrl-C, and prints the page's address.

    Args:
        folder: of runs.
        options: `port`, 0 takes any free one (0); `browser`, whether the page is opened in a browser (True).

    Raises:
        PocketlensError: there is no such folder, or the port cannot be used.
    """
    request = build(OpenRequest, {"folder": Path(folder)}, options)
    with opening(request) as opened:
        print(f"page     {opened.address}  (Ctrl-C ends it)", flush=True)
        show_in_browser(opened.address, wanted=request.browser)
        opened.wait()


signed(open_runs, OpenRequest)


@contextmanager
def opening(request: OpenRequest) -> Iterator[Opened]:
    """Listens, and gives an index that answers once it is run.

    Raises:
        PocketlensError: see `open_runs`.
    """
    check_runs(request.folder)
    if not request.folder.is_dir():
        from pocketlens.text import path_hint

        hint = path_hint(request.folder) or " Make a run with: pocketlens train digits"
        raise PocketlensError(f"FOLDER must be a folder of runs, there is no {str(request.folder)!r}.{hint}")
    with stop_on_signals() as signal_that_came, _listening(request, signal_that_came) as listening:

        def answer() -> int | None:
            listening.run()
            return signal_that_came()

        yield Opened(request.folder, listening.address, answer, listening.page_address)


@contextmanager
def opened(folder: Path) -> Iterator[Opened]:
    """Serves the index in a thread, while the block works; the folder need not exist yet.

    Raises:
        PocketlensError: FastAPI or uvicorn is not installed.
    """
    over = threading.Event()
    with _listening(OpenRequest(folder), over.is_set) as listening:
        thread = threading.Thread(target=listening.run, name="opened", daemon=True)
        thread.start()

        try:
            yield Opened(folder, listening.address, lambda: _wait_for_signal(thread), listening.page_address)
        finally:
            over.set()
            thread.join(_PATIENCE)


def _wait_for_signal(thread: threading.Thread) -> int | None:
    """Waits while the server's thread answers; gives the signal that came."""
    with stop_on_signals() as signal_that_came:
        while thread.is_alive() and signal_that_came() is None:
            thread.join(0.1)
        return signal_that_came()


@dataclass(frozen=True, eq=False)
class _Listening:
    """A server that listens and has not begun to answer."""

    address: str
    run: Callable[[], None]
    page_address: Callable[[Path], str]


@contextmanager
def _listening(request: OpenRequest, stopped: Callable[[], object]) -> Iterator[_Listening]:
    from pocketlens.inference.serve import Guard, Limits, listening, new_token

    folder, guard = request.folder, Guard(_HOST, new_token())
    with listening(guard, request.port) as place:
        from pocketlens.report.opened.app import address_of, make_index_app

        app = make_index_app(folder, guard, read_sessions)

        def page_address(page: Path) -> str:
            below = address_of(page, folder)
            return place.address + below if below else page.resolve().as_uri()

        yield _Listening(place.address, lambda: place.answer(app, stopped, Limits(seconds=1)), page_address)
