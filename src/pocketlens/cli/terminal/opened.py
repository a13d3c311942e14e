"""`--open`: a command's page in the browser; until it is written, an index of the folder of runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.cli.terminal.parser import Parser
from pocketlens.display.browser import show_in_browser
from pocketlens.display.screen import Screen

if TYPE_CHECKING:
    from pocketlens.pipeline.opened import Opened


def add_open(parser: Parser, *, follows: bool = False) -> None:
    """`--open`; `follows` the work of commands that take long."""
    what = "follow the work on a local page in the browser" if follows else "show the page in the browser"
    about = f"{what}, together with everything else in the folder of runs (see: pocketlens open); ends with Ctrl-C"
    parser.add_argument("--open", action="store_true", help=about)


class Browser:
    """Where `--open` shows pages; without it, nowhere."""

    def __init__(self, opened: Opened | None, screen: Screen) -> None:
        self.opened, self.screen = opened, screen
        self.stays = False

    def follow(self) -> None:
        """Shows the index, in which the work appears as soon as it begins."""
        if self.opened is not None:
            self._show(self.opened.address)

    def show(self, page: Path) -> None:
        """Shows a page that has been written, until Ctrl-C."""
        if self.opened is not None:
            self._show(self.opened.page_address(page))
            self.stays = True

    def stay(self) -> None:
        """Leaves what is shown there until Ctrl-C."""
        self.stays = self.opened is not None

    def _show(self, address: str) -> None:
        self.screen.fact("open", address)
        show_in_browser(address)


@contextmanager
def browser_of(args: argparse.Namespace, screen: Screen) -> Iterator[Browser]:
    """Serves the folder of runs while the block works, and behind it until Ctrl-C where a page was shown."""
    if not args.open or screen.is_mute:
        yield Browser(None, screen)
        return
    from pocketlens.pipeline.opened import opened

    with opened(args.runs) as index:
        browser = Browser(index, screen)
        yield browser
        if browser.stays:
            screen.say("the page stays until Ctrl-C")
            index.wait()
