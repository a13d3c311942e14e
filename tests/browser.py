"""A real browser for tests of pages: the page as it stands after its scripts have run, and what its console said."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

_QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --disable-extensions --enable-logging=stderr --virtual-time-budget=2000"
).split()


def open_page(path: Path, folder: Path, fragment: str = "") -> tuple[str, list[str]]:
    """The HTML of the page and the lines of its console; skips where there is no Chromium."""
    command = [_browser(), *_QUIET, f"--user-data-dir={folder}", "--dump-dom", f"{path.as_uri()}{fragment}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout, re.findall(r"CONSOLE[^\n]*", result.stderr)


def press_keys(
    path: Path, folder: Path, keys: tuple[str, ...], ask: str, until: str = "true"
) -> tuple[object, list[str]]:
    """Opens a page, focuses its confusion matrix, presses keys, waits `until` something holds, at most 5 s, and gives
    the value of `ask` (both JavaScript) with the messages of the console; by the browser's own protocol over a pipe."""
    to_read, to_write = os.pipe()
    back_read, back_write = os.pipe()
    command = [_browser(), *_QUIET[:-1], f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
    # the browser reads commands from its descriptor 3 and answers on 4
    shell = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{back_write}', "bash", *command]
    process = subprocess.Popen(
        shell, pass_fds=(to_read, back_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_read)
    os.close(back_write)
    said: list[str] = []
    try:
        with os.fdopen(to_write, "wb", buffering=0) as out, os.fdopen(back_read, "rb", buffering=0) as answers:
            send = _Sender(out, answers, said)
            target = send("Target.createTarget", {"url": "about:blank"})["targetId"]
            session = send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
            for domain in ("Runtime", "Log", "Page"):
                send(f"{domain}.enable", {}, session)
            send("Page.navigate", {"url": path.as_uri()}, session)
            ready = "document.readyState === 'complete' && !!document.getElementById('matrix-box')"
            for _ in range(200):
                if send.evaluate(ready, session):
                    break
                time.sleep(0.05)
            send.evaluate("document.getElementById('matrix-box').focus()", session)
            for key in keys:
                for kind in ("rawKeyDown", "keyUp"):
                    event = {"type": kind, "key": key, "windowsVirtualKeyCode": _CODES[key]}
                    send("Input.dispatchKeyEvent", event, session)
                time.sleep(0.1)  # as fast as a person
            for _ in range(50):
                if send.evaluate(until, session):
                    break
                time.sleep(0.1)
            time.sleep(0.5)  # a dialog closes behind the key, not with it
            return send.evaluate(ask, session), said
    finally:
        process.kill()
        process.wait()


_CODES = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Escape": 27}


class _Sender:
    """Sends commands of the DevTools protocol and waits for their answers; collects what the console says."""

    def __init__(self, out: Any, answers: Any, said: list[str]) -> None:
        self.out, self.answers, self.said = out, answers, said
        self.number, self.rest = 0, b""

    def __call__(self, method: str, parameters: dict[str, Any], session: str | None = None) -> Any:
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self.out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self.said.append(json.dumps(answer["params"]))
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, expression: str, session: str) -> Any:
        """The value of a JavaScript expression."""
        found = self("Runtime.evaluate", {"expression": expression, "returnByValue": True}, session)
        return found["result"].get("value")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            piece = self.answers.read(65536)
            assert piece, "the browser has ended"
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        value: dict[str, Any] = json.loads(message)
        return value


def _browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs Chromium: install chromium or google-chrome")
    return found
