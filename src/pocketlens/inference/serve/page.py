"""The page: self-contained HTML, whose script and style are allowed by their hashes."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from pocketlens.inference.predict import Predictor
from pocketlens.inference.serve.demo import Demo
from pocketlens.inference.serve.limits import Limits

_HERE = Path(__file__).parent


def render_page(predictor: Predictor, limits: Limits, demo: Demo) -> str:
    """The page's HTML; jinja2 escapes all names that come from outside."""
    height, width, channels = predictor.classifier.image_shape
    return _render(
        "page.html.j2",
        script="page.js",
        model=predictor.name,
        demo=demo,
        network=predictor.classifier.facts.model,
        classes=predictor.classifier.classes,
        size=f"{height} x {width} px, {'grey' if channels == 1 else 'colour'}",
        calibration=predictor.calibration,
        familiarity="" if predictor.familiarity is None else predictor.familiarity.said(),
        limit=limits.body,
        megabytes=f"{limits.body / 1e6:g}",
    )


def render_docs(schema: dict[str, Any], address: str) -> str:
    """The HTML of the API's description; `address` is that of the server, with its token."""
    return _render("docs.html.j2", script="", schema=schema, address=address, whole=json.dumps(schema, indent=2))


def _render(template: str, *, script: str, **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    own = {"style": Markup(_text("page.css")), "script": Markup(_text(script) if script else "")}  # noqa: S704 (ours)
    return environment.get_template(template).render({**values, **own})


@cache
def policy() -> str:
    """The content security policy: only the page's script and style, by their hashes, and pictures from the user."""
    return (
        f"default-src 'none'; script-src '{_digest('page.js')}'; style-src '{_digest('page.css')}'; "
        "img-src blob: data: 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def _text(name: str) -> str:
    return (_HERE / f"{name}.j2").read_text(encoding="utf-8").strip()


def _digest(name: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_text(name).encode()).digest()).decode()}"
