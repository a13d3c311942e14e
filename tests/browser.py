"""A real browser for tests of pages: the page as it stands after its scripts have run, and what its console said."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

_QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --disable-extensions --enable-logging=stderr --virtual-time-budget=2000"
).split()


def open_page(path: Path, folder: Path, fragment: str = "") -> tuple[str, list[str]]:
    """The HTML of the page and the lines of its console; skips where there is no Chromium."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium: install chromium or google-chrome")
    command = [browser, *_QUIET, f"--user-data-dir={folder}", "--dump-dom", f"{path.as_uri()}{fragment}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout, re.findall(r"CONSOLE[^\n]*", result.stderr)
