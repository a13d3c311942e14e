"""The page: self-contained HTML, whose script and style are allowed by their hashes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pocketlens.inference.hashed_page import HashedPage
from pocketlens.inference.predict import Predictor
from pocketlens.inference.serve.demo import Demo
from pocketlens.inference.serve.limits import Limits

_PAGE = HashedPage(Path(__file__).parent)


def render_page(predictor: Predictor, limits: Limits, demo: Demo, *, explains: bool) -> str:
    """The page's HTML; jinja2 escapes all names that come from outside. `explains`: whether it offers evidence."""
    height, width, channels = predictor.classifier.image_shape
    values = {
        "model": predictor.name,
        "demo": demo,
        "explains": explains,
        "network": predictor.classifier.facts.model,
        "classes": predictor.classifier.classes,
        "size": f"{height} x {width} px, {'grey' if channels == 1 else 'colour'}",
        "calibration": predictor.calibration,
        "familiarity": "" if predictor.familiarity is None else predictor.familiarity.said(),
        "limit": limits.body,
        "megabytes": f"{limits.body / 1e6:g}",
    }
    return _PAGE.render("page.html.j2", values)


def render_docs(schema: dict[str, Any], address: str, classes: Sequence[str]) -> str:
    """The HTML of the API's description; `address` is that of the server, with its token, `classes` are the model's."""
    values = {"schema": schema, "address": address, "classes": classes, "whole": json.dumps(schema, indent=2)}
    return _PAGE.render("docs.html.j2", values, script="")


def policy() -> str:
    """The content security policy: only the page's script and style, by their hashes, and pictures from the user."""
    return _PAGE.policy("blob: data: 'self'")
