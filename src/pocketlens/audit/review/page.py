"""The page of a review: self-contained HTML, whose script and style are allowed by their hashes."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


def render_page(dataset: str, out: str, command: str) -> str:
    """The page's HTML; jinja2 escapes what comes from outside, and what the script gets, it shows as text alone."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        dataset=dataset,
        out=out,
        command=command,
        style=Markup(_text("page.css")),  # noqa: S704 (our own file)
        script=Markup(_text("page.js")),  # noqa: S704 (our own file)
    )


@cache
def policy() -> str:
    """The content security policy: only the page's script and style, by their hashes, and this server's pictures."""
    return (
        f"default-src 'none'; script-src '{_digest('page.js')}'; style-src '{_digest('page.css')}'; img-src 'self' "
        "data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def _text(name: str) -> str:
    return (_HERE / f"{name}.j2").read_text(encoding="utf-8").strip()


def _digest(name: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_text(name).encode()).digest()).decode()}"
