"""serve: a local page that shows the classes of the pictures dropped on it, and the same as JSON.

Built on FastAPI and uvicorn, for the machine of one person: it listens on 127.0.0.1 by default, refuses requests for
another host name, and limits the bytes, the seconds and the places in the queue that requests may take.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from pocketlens.errors import PocketlensError
from pocketlens.inference.predict import Predictor
from pocketlens.inference.serve.limits import Limits

if TYPE_CHECKING:
    from pocketlens.inference.serve.server import Server

__all__ = ["Limits", "check_packages", "is_loopback", "listen", "make_server"]


def check_packages() -> None:
    """Refuses to go on without FastAPI and uvicorn.

    Raises:
        PocketlensError: one of them is absent.
    """
    absent = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if absent:
        raise PocketlensError(f'{" and ".join(absent)} must be installed for this: pip install "pocketlens[serve]"')


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    return host in ("localhost", "::1") or host.startswith("127.")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is one that is free.

    Raises:
        PocketlensError: the address is not this machine's, or the port is taken.
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


def make_server(
    predictor: Predictor,
    host: str,
    *,
    device: str = "cpu",
    limits: Limits | None = None,
    stopped: Callable[[], object] = lambda: None,
) -> Server:
    """A server for one model; `run(sockets=[listen(...)])` serves until `stopped` gives something that is true.

    Args:
        predictor: the model.
        host: where it listens, which decides under which names it answers.
        device: where to compute.
        limits: what a request may cost.
        stopped: asked ten times a second.

    Raises:
        PocketlensError: FastAPI or uvicorn is absent.
    """
    check_packages()
    from pocketlens.inference.serve.app import make_app
    from pocketlens.inference.serve.server import Server, configure

    limits = limits or Limits()
    return Server(configure(make_app(predictor, host, device, limits), limits), stopped)
