"""An application that is served in a thread, for tests that ask it over real connections."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from pocketlens.inference.serve import Limits, listen

PATIENCE = 60.0  # seconds


@contextlib.contextmanager
def served(app: Any, token: str) -> Iterator[str]:
    """The address of an application on a free port of this machine, with its token and a slash at its end."""
    from pocketlens.inference.serve.server import Server, configure

    with listen("127.0.0.1", 0) as listener:
        server = Server(configure(app, Limits(seconds=1)), lambda: False)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the server does not stop"
