"""The story of auto: what was planned and taken, compared and left out stands on its page, and nothing of it runs."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from made_runs import MadeRun, make_dataset, make_run
from test_report import HOSTILE, Page

from pocketlens.data.dataset import Dataset
from pocketlens.files import write_json
from pocketlens.pipeline.compared import WIDTH, read_compared
from pocketlens.pipeline.left_out import read_left_out
from pocketlens.pipeline.links import read_links
from pocketlens.pipeline.page import write_story
from pocketlens.pipeline.phase_result import PhaseResult
from pocketlens.pipeline.planning import settled
from pocketlens.pipeline.state import AutoRequest, AutoState
from pocketlens.pipeline.story import Story, tell_story
from pocketlens.pipeline.timeline import describe_epochs, read_timeline
from pocketlens.recipe import Recipe
from pocketlens.report.run.facts import read_facts
from pocketlens.scoring.choice import Choice
from pocketlens.training.run import Run


def accuracy(value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


def approaches(**changes: Any) -> PhaseResult:
    """A probe at 90 % that won over a training from scratch at 80 %."""
    choice = Choice("probe", "probe", "from scratch", 0.1, 0.05, 0.15, 0.0)
    facts = {
        "chosen": "probe",
        "choice": asdict(choice),
        "judged_on": "500 validation images",
        "planned": 60.0,
        "not_tried": [
            "fine-tuned: not tried, 6.2 s are too short for it",
            "from scratch: dropped, 50.00% of 90 images",
        ],
        "candidates": [
            {"name": "probe", "accuracy": accuracy(0.9, 0.87, 0.92), "seconds": 12.0},
            {"name": "from scratch", "accuracy": accuracy(0.8, 0.76, 0.83), "seconds": 30.0},
        ],
    }
    return PhaseResult(("said",), facts | changes, 50.0)


def planned(ended: float = 70.0) -> PhaseResult:
    facts = {
        "seconds": {"look": 9.0, "augment": 20.0, "final": 90.0, "test": 5.0},
        "epochs": 6.8,
        "left_out": {"search": "its 22 short trainings would take at least 12 min", "audit for outliers": "too long"},
    }
    return PhaseResult(("plan",), facts, ended)


def augmentations(chosen: str = "base") -> PhaseResult:
    facts = {
        "chosen": chosen,
        "verdicts": {"flip | crop(pad=2)": "cannot tell" if chosen == "base" else "better"},
        "judged_on": "300 validation images, means over 3 seeds",
        "candidates": [
            {"name": "base", "accuracy": accuracy(0.6, 0.58, 0.62), "seconds": 9.0},
            {"name": "flip | crop(pad=2)", "accuracy": accuracy(0.61), "seconds": 9.0},
        ],
        "page": "autos/s/study/report.html",
    }
    return PhaseResult(("compared",), facts, 100.0)


def state_of(done: dict[str, PhaseResult], **changes: Any) -> AutoState:
    request = AutoRequest("folder(path='/home/me/cells')", 4.0, False, "f", 2, "auto")
    return AutoState(request, Recipe(), opens=True, loading=2.0, done=done, **changes)


def made(folder: Path, dataset: Dataset | None = None, **options: Any) -> tuple[MadeRun, Dataset]:
    dataset = dataset or make_dataset(350, ("ant", "bee", "cow"))
    return make_run(folder, dataset, skill=1.5, label="auto: final", **options), dataset


def told(folder: Path, state: AutoState, dataset: Dataset | None = None, now: float = 200.0) -> tuple[Story, Page, str]:
    run, dataset = made(folder, dataset)
    session = folder / "autos" / "s"
    session.mkdir(parents=True)
    facts = read_facts(run, dataset)
    story = tell_story(session, state, run, facts, now)
    html = write_story(session, story, facts).read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    return story, page, html


def test_candidates_have_intervals_and_the_winner_is_marked() -> None:
    state = state_of({"approach": approaches()})
    (compared,) = read_compared(state)
    assert [(row.note, row.accuracy, row.interval, row.is_chosen) for row in compared.rows] == [
        ("probe", "90.00 %", "[87.00, 92.00]", True),
        ("from scratch", "80.00 %", "[76.00, 83.00]", False),
    ]
    for row in compared.rows:
        assert row.mark.low is not None
        assert row.mark.high is not None
        assert 0 <= row.mark.low < row.mark.at < row.mark.high <= WIDTH
    assert compared.rows[1].mark.high < compared.rows[0].mark.low
    assert "10.0 points ahead of a network trained from scratch, which is more than chance" in compared.said


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice("probe", "probe", None, 0.0, 0.0, 0.0, 0.0), "the only one that was tried"),
        (Choice("probe", "from scratch", "from scratch", -0.01, -0.03, 0.01, 0.0), "less than one standard error"),
        (Choice("probe", "probe", "from scratch", 0.01, -0.01, 0.03, 0.0), "which may be chance"),
    ],
)
def test_why_an_approach_was_taken_is_said(choice: Choice, said: str) -> None:
    (compared,) = read_compared(state_of({"approach": approaches(choice=asdict(choice))}))
    assert said in compared.said


def test_a_comparison_says_whether_the_recipe_changed() -> None:
    (compared,) = read_compared(state_of({"augment": augmentations()}))
    assert compared.said.startswith("None of them is better")
    assert [row.verdict for row in compared.rows] == ["", "no clear difference"]
    assert compared.rows[1].mark.low is None
    (compared,) = read_compared(state_of({"augment": augmentations("flip | crop(pad=2)")}))
    assert compared.said.endswith("flip | crop(pad=2).")
    assert [row.is_chosen for row in compared.rows] == [False, True]


def test_sessions_of_before_have_no_candidates_and_no_times(tmp_path: Path) -> None:
    old = PhaseResult(("base: 60.00 %",), {"chosen": "base", "verdicts": {"cutout": "worse"}})
    state = state_of({"augment": old, "final": PhaseResult(("trained",), {"run": "r"})})
    story, page, _ = told(tmp_path, state)
    assert story.compared == ()
    assert story.timeline is None
    assert "base: 60.00 %" in page.text["pre"]


def test_the_timeline_holds_planned_and_actual_times(tmp_path: Path) -> None:
    run, _ = made(tmp_path)
    done = {
        "approach": approaches(),
        "plan": planned(),
        "look": PhaseResult((), {"depth": "duplicates"}, 75.0),
        "final": PhaseResult((), {"run": run.id}, 180.0),
        "test": PhaseResult((), {"opened": False, "test": None}, 190.0),
    }
    timeline = read_timeline(state_of(done), run, 200.0)
    assert timeline is not None
    assert timeline.whole == 240.0
    assert [(span.title, span.planned, span.start, span.took) for span in timeline.spans] == [
        ("Reading the data", None, 0.0, 2.0),
        ("Pretrained body, or from scratch", 60.0, 2.0, 48.0),
        ("Plan", None, 50.0, 20.0),
        ("Data", 9.0, 70.0, 5.0),
        ("Final training", 90.0, 75.0, 105.0),
        ("Test", 5.0, 180.0, 10.0),
        ("Report", None, 190.0, 10.0),
    ]
    assert timeline.spans[3].in_words() == "planned 9.0 s, took 5.0 s"
    over = read_timeline(state_of(done), run, 300.0)
    assert over is not None
    assert over.whole == 300.0


def test_epochs_that_were_planned_and_those_that_ran_are_both_said(tmp_path: Path) -> None:
    run, _ = made(tmp_path, recipe=Recipe(epochs=7.2, batch_size=28))
    assert describe_epochs(state_of({"plan": planned()}), run) == "6.8 epochs planned at first, 7.2 epochs trained"
    assert describe_epochs(state_of({}), run) == "7.2 epochs trained"
    write_json(run.file("experiment.json"), replace(run.experiment, stop_step=50).to_dict())
    assert describe_epochs(state_of({}), MadeRun(run.path)) == "stopped after 5 of 7.2 epochs"
    one, _ = made(tmp_path / "one", recipe=Recipe(epochs=1.0))
    assert describe_epochs(state_of({}), one) == "1 epoch trained"


def test_a_recipe_that_was_judged_needs_no_check() -> None:
    assert settled(state_of({"approach": approaches()})) == {"approach", "check"}
    probe = {"name": "probe", "accuracy": accuracy(0.9, 0.87, 0.92), "seconds": 12.0}
    assert settled(state_of({"approach": approaches(candidates=[probe])})) == {"approach"}
    assert settled(state_of({"plan": planned()})) == {"plan"}


def test_what_was_left_out_is_said_with_its_reason() -> None:
    done = {
        "approach": approaches(),
        "plan": planned(),
        "look": PhaseResult(("stopped: it took longer than 12 s",), {}),
        "test": PhaseResult((), {"opened": False, "openings": 2}),
    }
    said = [(each.what, each.why) for each in read_left_out(state_of(done))]
    assert said == [
        ("The pretrained network was not fine-tuned", "6.2 s are too short for it"),
        ("Training from scratch was dropped early", "50.00% of 90 images"),
        (
            "Learning rate, momentum and label smoothing were not searched",
            "its 22 short trainings would take at least 12 min",
        ),
        ("The data was not searched for outliers", "too long"),
        ("The search for duplicates and outliers was not finished", "it took longer than 12 s"),
        ("The test images stayed sealed", "they have been opened 2 times before; --test opens them all the same"),
    ]
    (none,) = read_left_out(state_of({}, no_body="images of 8 px are too small for what it has learned from photos"))
    assert none.why.startswith("images of 8 px")
    assert AutoState.from_dict(state_of({}, no_body="why").to_dict(), "auto.json").no_body == "why"


def test_the_page_tells_it_all_and_stands_alone(tmp_path: Path) -> None:
    done = {"approach": approaches(), "plan": planned(), "augment": augmentations()}
    story, page, html = told(tmp_path, state_of(done))
    assert page.text["h1"].strip() == "cells"
    assert "in 200 s of the 4 min 0 s" in page.shown or "in 3 min 20 s of the 4 min 0 s" in page.shown
    for text in ("87.00", "92.00", "planned 60 s, took 48 s", "planned 20 s, took 30 s", "would take at least 12 min"):
        assert text in page.shown
    assert story.screen is not None
    assert f"{100 * (story.screen.scores.top1.value or 0):.2f}" in page.shown
    assert len(page.all("img")) >= 2 * 8
    assert len(page.all("svg")) >= 2 + len(story.screen.bars)
    assert all((image["src"] or "").startswith("data:") for image in page.all("img"))
    assert not re.search(r"(src|href)=\"(https?:)?//", html)
    links = [str(link["href"]) for link in page.all("a")]
    assert f"../../{Run(tmp_path / '20250101-000000-abcd').id}/report.html" in links
    assert any(link.endswith("study/report.html") for link in links)
    assert not any(link.endswith("summary.png") for link in links), "there is none"


def test_the_page_leads_to_the_summary_where_there_is_one(tmp_path: Path) -> None:
    run = make_run(tmp_path, make_dataset(40, ("ant", "bee")))
    run.file("summary.png").write_bytes(b"")
    links = {link.text: link.address for link in read_links(tmp_path / "auto" / "one", run, {})}
    assert links["the same on one picture"] == f"../../{run.id}/summary.png"


def test_nothing_from_outside_runs_on_the_page(tmp_path: Path) -> None:
    dataset = make_dataset(400, HOSTILE, (8, 8, 3), text=f"folder({HOSTILE[0]!r})")
    names = {"name": HOSTILE[0], "accuracy": accuracy(0.5, 0.4, 0.6), "seconds": 1.0}
    hostile = augmentations()
    hostile.facts["candidates"][1] = names
    hostile.facts["judged_on"] = HOSTILE[1]
    look = PhaseResult((HOSTILE[0],), {"findings": [HOSTILE[1]], "page": f"/{HOSTILE[0]}/look.html"}, 90.0)
    done = {
        "augment": hostile,
        "look": look,
        "plan": PhaseResult((), planned().facts | {"left_out": {HOSTILE[0]: HOSTILE[1]}}, 95.0),
    }
    state = state_of(done, no_body=HOSTILE[0])
    request = replace(state.request, text=f"folder(path='/x/{HOSTILE[2]}')")
    _, page, _ = told(tmp_path, replace(state, request=request), dataset)
    assert len(page.all("script")) == 1
    assert "alert" not in page.text["script"]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all(text in page.shown for text in HOSTILE[:2])
