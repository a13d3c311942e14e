"""The page of a review: self-contained HTML, whose script and style are allowed by their hashes."""

from __future__ import annotations

from pathlib import Path

from pocketlens.inference.hashed_page import HashedPage

_PAGE = HashedPage(Path(__file__).parent)


def render_page(dataset: str, out: str, command: str) -> str:
    """The page's HTML; jinja2 escapes what comes from outside, and what the script gets, it shows as text alone."""
    return _PAGE.render("page.html.j2", {"dataset": dataset, "out": out, "command": command})


def policy() -> str:
    """The content security policy: only the page's script and style, by their hashes, and this server's pictures."""
    return _PAGE.policy("'self' data:")
