"""The HTML of the index, of the trials of a study, and of the page that follows a training."""

from __future__ import annotations

import time
from typing import Any

from pocketlens.report.opened.curves import Spark, spark
from pocketlens.report.opened.entries import Index, RunEntry, StudyEntry
from pocketlens.report.opened.live import Live
from pocketlens.report.shell import render_page
from pocketlens.text import counted

BUSY, CALM = 2.0, 10.0  # seconds between two looks at the files: while something is trained, and else
_SCRIPTS = ("sort.js.j2", "opened.js.j2")


def render_index(index: Index) -> str:
    """The index of a folder of runs."""
    return _render("index.html.j2", is_busy=bool(index.training), index=index)


def render_trials(study: StudyEntry, home: str) -> str:
    """The trials of a study; `home` is the address of the index relative to this page."""
    return _render("trials.html.j2", is_busy=study.running > 0, study=study, home=home)


def render_live(live: Live, home: str) -> str:
    """The page of one training; `home` is the address of the index relative to this page."""
    return _render("live.html.j2", is_busy=live.is_running, live=live, home=home)


def _render(template: str, *, is_busy: bool, **values: Any) -> str:
    own = {"draw_spark": _draw_spark, "clock_time": _clock_time, "counted": counted, "every": BUSY if is_busy else CALM}
    return render_page(template, _SCRIPTS, {**values, **own})


def _draw_spark(entry: RunEntry) -> Spark | None:
    return spark(entry.curve, entry.n_epochs, entry.is_on_val)


def _clock_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
