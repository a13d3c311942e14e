"""Self-contained pages of a local server: their script and style stand in the page, and are allowed by their hashes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class HashedPage:
    """The folder of a page: its templates, and the texts page.css.j2 and page.js.j2."""

    folder: Path

    def render(self, template: str, values: Mapping[str, Any], script: str = "page.js") -> str:
        """The HTML of a template; jinja2 escapes all values. `script` is the text that it holds, "" for none."""
        from markupsafe import Markup

        style, code = _text(self.folder, "page.css"), _text(self.folder, script) if script else ""
        own = {"style": Markup(style), "script": Markup(code)}  # noqa: S704 (our own files)
        return templates(self.folder).get_template(template).render({**values, **own})

    def policy(self, images: str) -> str:
        """The content security policy: only the page's script and style, its own server, and pictures from `images`."""
        script, style = (_digest(self.folder, name) for name in ("page.js", "page.css"))
        return (
            f"default-src 'none'; script-src '{script}'; style-src '{style}'; img-src {images}; connect-src 'self'; "
            "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        )


@cache
def templates(folder: Path) -> Environment:
    """The templates of a folder, which escape all values; compiled once for all pages of a process."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _text(folder: Path, name: str) -> str:
    return (folder / f"{name}.j2").read_text(encoding="utf-8").strip()


@cache
def _digest(folder: Path, name: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_text(folder, name).encode()).digest()).decode()}"
