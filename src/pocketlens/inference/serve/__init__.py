"""serve: a small local page that shows the classes of pictures dropped on it, and the same as a JSON endpoint.

It is built on FastAPI and uvicorn and meant for one person's machine: by default it listens on 127.0.0.1, it rejects
requests to other host names, and it limits a request's bytes, its seconds and the length of the queue. `guard` and
`server` serve other local pages, too.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pocketlens.errors import PocketlensError
from pocketlens.inference.predict import Predictor
from pocketlens.inference.serve.guard import Guard, new_token
from pocketlens.inference.serve.limits import Limits

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pocketlens.inference.serve.demo import Demo
    from pocketlens.inference.serve.server import Server

__all__ = ["Guard", "Limits", "check_packages", "is_loopback", "listen", "listening", "make_server", "new_token"]


def check_packages() -> None:
    """Makes sure that FastAPI, uvicorn and python-multipart are installed.

    Raises:
        PocketlensError: one of them is not.
    """
    absent = [name for name in ("fastapi", "uvicorn", "python_multipart") if importlib.util.find_spec(name) is None]
    if absent:
        names = [name.replace("_", "-") for name in absent]
        raise PocketlensError(f'{" and ".join(names)} must be installed for this: pip install "pocketlens[serve]"')


def is_loopback(host: str) -> bool:
    """Whether the host is reachable only from this machine."""
    return host in ("localhost", "::1") or host.startswith("127.")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free port.

    Raises:
        PocketlensError: the address does not belong to this machine, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise PocketlensError(
            f"--host and --port must be a free address of this machine, {host} port {port} is not ({why}); "
            "--port 0 takes any free port."
        ) from None


@dataclass(frozen=True, eq=False)
class Listening:
    """A socket that listens, and the address that a person opens."""

    listener: socket.socket
    address: str

    def answer(self, app: FastAPI, stopped: Callable[[], object], limits: Limits | None = None) -> None:
        """Answers by an application until `stopped()`, which is called ten times a second, is true."""
        from pocketlens.inference.serve.server import Server, configure

        server: Any = Server(configure(app, limits or Limits()), stopped)
        server.run(sockets=[self.listener])


@contextmanager
def listening(guard: Guard, port: int) -> Iterator[Listening]:
    """Listens on the host of a guard; port 0 takes any free port.

    Raises:
        PocketlensError: FastAPI or uvicorn is not installed, or see `listen`.
    """
    check_packages()
    with listen(guard.host, port) as listener:
        yield Listening(listener, f"{guard.address(listener.getsockname()[1])}/")


def make_server(
    predictor: Predictor,
    guard: Guard,
    *,
    device: str = "cpu",
    limits: Limits | None = None,
    demo: Demo | None = None,
    stopped: Callable[[], object] = lambda: None,
) -> Server:
    """A server for one model; `run(sockets=[listen(...)])` serves until `stopped()` is true.

    Args:
        predictor: the model.
        guard: who may ask; its limit of bytes becomes that of a form.
        device: where to compute.
        limits: of requests.
        demo: what the page shows of the model.
        stopped: called ten times a second.

    Raises:
        PocketlensError: FastAPI or uvicorn is not installed.
    """
    check_packages()
    from pocketlens.inference.serve.app import make_app
    from pocketlens.inference.serve.demo import Demo
    from pocketlens.inference.serve.server import Server, configure

    limits = limits or Limits()
    guard = replace(guard, body=max(limits.form, limits.body))
    return Server(configure(make_app(predictor, guard, device, limits, demo or Demo()), limits), stopped)
