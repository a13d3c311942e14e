"""The shell of every page: jinja2 with autoescape, and a policy that lets the browser run our scripts and load nothing.

Whatever comes from outside (class names, labels, file names) reaches a page through autoescape or as escaped JSON that
the scripts put into texts alone. The scripts are allowed by their hash.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pocketlens.inference.hashed_page import templates
from pocketlens.report.downloads import Download, offer
from pocketlens.report.figures import Figure
from pocketlens.scoring.scores import show, show_interval

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_HERE = Path(__file__).parent / "templates"


def render_page(template: str, scripts: tuple[str, ...], values: dict[str, Any]) -> str:
    """The HTML of `template` with `values`; `scripts` are files of this folder, allowed by their hash."""
    from markupsafe import Markup

    script = '"use strict";\n' + "".join((_HERE / name).read_text(encoding="utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    own = {"script": Markup(script), "script_hash": digest}  # noqa: S704 (our own files)
    return _environment().get_template(template).render(values | own)


@cache
def _environment() -> Environment:
    """The templates of all pages, with the functions and the JSON that they use."""
    environment = templates(_HERE)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.globals |= {"show": show, "show_interval": show_interval}
    return environment


class PlacedFigure(NamedTuple):
    """A figure whose SVG may stand in a page as it is, its caption, and what can be taken away of it."""

    svg: Markup
    caption: str
    download: Download | None


def placed(figures: list[Figure], prefix: str) -> list[PlacedFigure]:
    """Figures for a page; the names of the files that can be downloaded begin with `prefix`."""
    from markupsafe import Markup

    downloads = (None if each.table is None else offer(prefix, each.title, each.table) for each in figures)
    return [
        PlacedFigure(Markup(each.svg), each.caption, download)  # noqa: S704 (they hold our own words alone)
        for each, download in zip(figures, downloads, strict=True)
    ]
