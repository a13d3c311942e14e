"""Charts to be taken away: the numbers of each as CSV inside the page. Its SVG is made by the page's script.

The macro `downloads` places the links, `downloads.js.j2` draws the SVG of whatever stands above them.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any

from pocketlens.files import csv_text


@dataclass(frozen=True)
class Table:
    """The numbers of a chart: a header, and rows of numbers, texts and None."""

    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Download:
    """What can be taken away of a chart.

    Attributes:
        name: of the files, without their ending.
        title: of the chart.
        csv: its numbers, as a data URI.
    """

    name: str
    title: str
    csv: str


def offer(prefix: str, title: str, numbers: Table | str) -> Download:
    """The download of a chart.

    Args:
        prefix: what the names of the files begin with, such as the id of the run.
        title: of the chart, in our own words.
        numbers: its table, or that as CSV.
    """
    text = numbers if isinstance(numbers, str) else csv_text(numbers.header, numbers.rows)
    encoded = base64.b64encode(text.encode("utf-8")).decode()
    name = re.sub(r"[^a-z0-9]+", "-", f"{prefix} {title}".lower()).strip("-")
    return Download(name, title, f"data:text/csv;charset=utf-8;base64,{encoded}")
