"""Serving: `pl.serve` and `pocketlens serve` open a local page on which one drops pictures, and the same as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.requests import Code, Machine, build, check_runs, signed
from pocketlens.api.runs import find_run
from pocketlens.display.signals import stop_on_signals
from pocketlens.errors import PocketlensError
from pocketlens.files import RUNS
from pocketlens.own_code import name_code

if TYPE_CHECKING:
    from pocketlens.api.runs import RunLike
    from pocketlens.inference.predict import Predictor
    from pocketlens.inference.serve.demo import Demo

_OPEN_FILES = 8192  # connections are open files


@dataclass(frozen=True)
class ServeRequest:
    """Where to listen (port 0 takes any free one), how many classes to answer, when to call it unsure, what to open."""

    run: RunLike
    host: str = "127.0.0.1"
    port: int = 8000
    top: int = 5
    machine: Machine = field(default_factory=Machine)
    runs: Path = RUNS
    max_pixels: int = 25_000_000
    heic: bool = False
    code: Code = ()
    threshold: float = 0.5


@dataclass(frozen=True, eq=False)
class Serving:
    """A server that listens and has not begun to answer; beyond this machine, its address holds a token."""

    predictor: Predictor
    demo: Demo
    address: str
    device: str
    is_local: bool
    run: Callable[[], int | None]  # answers until a signal comes, and gives that signal


def serve(run: RunLike, **options: Any) -> None:
    """Serves a model on a local page until Ctrl-C; prints the page's address.

    Args:
        run: a run, its folder, id or label, "last", or a .safetensors file that `export` wrote.
        options: `host`, where to listen (127.0.0.1; with another one, the address holds a token, without which other
            machines are refused); `port`, 0 takes any free one (8000); `top`, classes for each picture (5);
            `threshold`, the probability below which an answer is called unsure (0.5); `max_pixels`, above which a
            picture is decoded smaller if it is a JPEG, and else refused (25 million); `heic`, whether HEIC is opened
            (False);
            `device` and `threads`; `code`, the files of one's own that the model uses, unchanged since it was made; and
            `runs`.

    Raises:
        PocketlensError: there is no such model, or the address cannot be used.
    """
    request = build(ServeRequest, {"run": run}, options)
    name_code(request.code)
    with serving(request) as server:
        print(f"page     {server.address}/  (JSON: POST {server.address}/api/predict; Ctrl-C ends it)", flush=True)
        server.run()


signed(serve, ServeRequest)


@contextmanager
def serving(request: ServeRequest) -> Iterator[Serving]:
    """Listens, opens the model, and gives a server that answers once it is run.

    Raises:
        PocketlensError: see `serve`.
    """
    check_runs(request.runs)
    if not 0 <= request.port <= 65535:
        raise PocketlensError(f"--port must be 0 to 65535, got {request.port}.")
    if not 0 <= request.threshold < 1:
        raise PocketlensError(f"--threshold must be at least 0 and below 1, got {request.threshold}.")
    from pocketlens.data.images import DecodeOptions
    from pocketlens.inference.predict import find_model, open_predictor
    from pocketlens.inference.serve import Guard, Limits, check_packages, is_loopback, listen, make_server, new_token

    run = request.run
    model = find_model(str(run), request.runs) if isinstance(run, (str, Path)) else find_run(run, request.runs)
    check_packages()
    with listen(request.host, request.port) as listener, stop_on_signals() as signal_that_came:
        device = request.machine.prepare()
        options = DecodeOptions(request.max_pixels, heic=request.heic)
        predictor = open_predictor(model, request.runs, options)
        _allow_files()
        classes = predictor.classifier.classes
        from pocketlens.inference.serve.demo import Demo, read_demo

        demo = Demo(threshold=request.threshold)
        if not isinstance(model, Path):
            demo = read_demo(model, classes, request.threshold)
        guard = Guard(request.host, "" if is_loopback(request.host) else new_token())
        limits = Limits(top=request.top)
        server: Any = make_server(predictor, guard, device=device, limits=limits, demo=demo, stopped=signal_that_came)

        def answer() -> int | None:
            server.run(sockets=[listener])
            return signal_that_came()

        address = guard.address(listener.getsockname()[1])
        yield Serving(predictor, demo, address, device, not guard.token, answer)


def _allow_files() -> None:
    """Raises the limit of open files, where there is one, so that idle connections leave room for others."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
