"""The shell of every page: jinja2 with autoescape, and a policy that lets the browser run our scripts and load nothing.

Whatever comes from outside (class names, labels, file names) reaches a page through autoescape or as escaped JSON that
the scripts put into texts alone. The scripts are allowed by their hash.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pocketlens.report.figures import Figure
from pocketlens.scoring.scores import show, show_interval

if TYPE_CHECKING:
    from markupsafe import Markup

_HERE = Path(__file__).parent / "templates"


def render_page(template: str, scripts: tuple[str, ...], values: dict[str, Any]) -> str:
    """The HTML of `template` with `values`; `scripts` are files of this folder, allowed by their hash."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.globals |= {"show": show, "show_interval": show_interval}
    script = '"use strict";\n' + "".join((_HERE / name).read_text(encoding="utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    own = {"script": Markup(script), "script_hash": digest}  # noqa: S704 (our own files)
    return environment.get_template(template).render(values | own)


class PlacedFigure(NamedTuple):
    """A figure whose SVG may stand in a page as it is, and its caption."""

    svg: Markup
    caption: str


def placed(figures: list[Figure]) -> list[PlacedFigure]:
    """Figures for a page."""
    from markupsafe import Markup

    return [PlacedFigure(Markup(figure.svg), figure.caption) for figure in figures]  # noqa: S704 (they hold our own words alone)
