"""The story of a session of `auto`: what its page tells, as values; `page.py` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketlens.pipeline.compared import Compared, read_compared
from pocketlens.pipeline.folds_table import FoldsTable, read_folds
from pocketlens.pipeline.left_out import LeftOut, read_left_out
from pocketlens.pipeline.links import Link, read_links
from pocketlens.pipeline.state import AutoState
from pocketlens.pipeline.timeline import TITLES, Timeline, describe_epochs, read_timeline
from pocketlens.report.run.facts import Facts
from pocketlens.report.run.first_screen import FirstScreen, first_screen
from pocketlens.report.titles import short_name
from pocketlens.text import counted, format_duration
from pocketlens.training.run import Run


@dataclass(frozen=True)
class Fact:
    """A line about what was made."""

    name: str
    value: str
    is_code: bool = False


@dataclass(frozen=True)
class Log:
    """What the terminal said about a phase."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """Everything that the page shows.

    Attributes:
        heading: the data set in short.
        lead: how long it took, of what it was given.
        screen: the score of the result with examples; None where only the folds give one.
        findings: what the audit found.
    """

    heading: str
    lead: str
    session: str
    screen: FirstScreen | None
    folds: FoldsTable | None
    made: tuple[Fact, ...]
    timeline: Timeline | None
    compared: tuple[Compared, ...]
    left_out: tuple[LeftOut, ...]
    findings: tuple[str, ...]
    links: tuple[Link, ...]
    logs: tuple[Log, ...]


def tell_story(folder: Path, state: AutoState, run: Run, facts: Facts, now: float) -> Story:
    """The story of a session.

    Args:
        folder: of the session, in which its page lies.
        run: the final training; facts: what is known of it.
        now: seconds of work.
    """
    done = state.done
    return Story(
        heading=short_name(state.request.text),
        lead=_lead(state, now),
        session=folder.name,
        screen=first_screen(facts),
        folds=read_folds(done["folds"], folder) if "folds" in done else None,
        made=_made(state, run, facts),
        timeline=read_timeline(state, run, now),
        compared=read_compared(state),
        left_out=read_left_out(state),
        findings=done["look"].findings if "look" in done else (),
        links=read_links(folder, run, done),
        logs=tuple(Log(TITLES[name], result.lines) for name, result in done.items() if name in TITLES),
    )


def _lead(state: AutoState, now: float) -> str:
    limit, spent = format_duration(60.0 * state.request.minutes), format_duration(now)
    time = f"of the {limit} that it was given" if now <= 60.0 * state.request.minutes else f"; it was given {limit}"
    return f"The best classifier that auto found in {spent} {time}.".replace(" ;", ";")


def _made(state: AutoState, run: Run, facts: Facts) -> tuple[Fact, ...]:
    recipe = facts.recipe
    rows = [
        Fact("data", facts.data, is_code=True),
        Fact("network", recipe.model, is_code=True),
        Fact("trained on", counted(facts.n_train, "image") + (f", {facts.n_val:,} held out" if facts.n_val else "")),
        Fact("training", describe_epochs(state, run)),
    ]
    if not recipe.is_probe:
        rows.append(Fact("augmentation", recipe.augment, is_code=True))
    return (*rows, Fact("run", facts.run_id, is_code=True))
