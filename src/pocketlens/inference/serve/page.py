"""The page: self-contained HTML, whose script and style are allowed by their hashes."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from pocketlens.inference.predict import Predictor
from pocketlens.inference.serve.limits import Limits

_HERE = Path(__file__).parent


def render_page(predictor: Predictor, limits: Limits) -> str:
    """The page's HTML; jinja2 escapes all names that come from outside."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    height, width, channels = predictor.classifier.image_shape
    return environment.get_template("page.html.j2").render(
        model=predictor.name,
        network=predictor.classifier.facts.model,
        classes=predictor.classifier.classes,
        size=f"{height} x {width} px, {'grey' if channels == 1 else 'colour'}",
        calibration=predictor.calibration,
        familiarity="" if predictor.familiarity is None else predictor.familiarity.said(),
        limit=limits.body,
        megabytes=f"{limits.body / 1e6:g}",
        style=Markup(_text("page.css")),  # noqa: S704 (our own file)
        script=Markup(_text("page.js")),  # noqa: S704 (our own file)
    )


@cache
def policy() -> str:
    """The content security policy: only the page's script and style, by their hashes, and pictures from the user."""
    return (
        f"default-src 'none'; script-src '{_digest('page.js')}'; style-src '{_digest('page.css')}'; img-src blob:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def _text(name: str) -> str:
    return (_HERE / f"{name}.j2").read_text(encoding="utf-8").strip()


def _digest(name: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_text(name).encode()).digest()).decode()}"
