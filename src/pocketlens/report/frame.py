"""What all pages share: the template folder with autoescape, one style, one script of ours known by its hash."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any


def render_page(template: str, values: dict[str, Any]) -> str:
    """The HTML text of a page; whatever comes from outside reaches it through jinja2's autoescape alone."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (folder / "page.js.j2").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    own = {"script": Markup(script), "script_hash": digest}  # noqa: S704 (our own file)
    return environment.get_template(template).render({**values, **own})
