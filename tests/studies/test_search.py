"""Searches with made-up scores: phases, rungs, time limits, selection bias, resuming; one with real trainings."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_images import refused
from made_studies import ONE_THREAD, spec_and_split
from made_trainings import PLAIN

from pocketlens.report.study.figures import history, importance, parallel
from pocketlens.studies.search import read_search, run_search, start_search, write_trials
from pocketlens.studies.search_trials import next_trials
from pocketlens.studies.space import read_space
from pocketlens.studies.spec import METHODS, SearchSpec
from pocketlens.studies.store import Record, Study

SPACE = "lr=log(0.001,1); optimizer.momentum=range(0.5,0.99)"
Score = Callable[[Record], float | None]


def new_search(folder: Path, **more: Any) -> Study:
    spec, split = spec_and_split(folder, replace(SearchSpec(SPACE, trials=12), **more))
    return start_search(spec, split, folder / "runs")


def near_a_third(record: Record) -> float | None:
    """A score that is highest at lr 0.3, a little other with each seed; None where lr is tiny."""
    lr = record.trial.recipe.lr
    return None if lr < 0.002 else round(0.9 - 0.1 * abs(math.log(lr / 0.3)) + 0.003 * (record.trial.seed % 3), 6)


def play(study: Study, score: Score = near_a_third, seconds: float = 10.0, most: int = 10_000) -> list[Record]:
    """Runs a search without any training: each trial's score is made up."""
    for _ in range(most):
        with study.lock():
            study.enqueue(next_trials(study, 2))
        with study.claim() as record:
            if record is None:
                break
            value = score(record)
            status = "complete" if value is not None else "diverged"
            study.end(Record(record.trial, status, "", value, None if value is None else 1 - value, seconds))
    return study.records()


def test_coarse_to_fine_starts_at_the_base_cuts_its_ranges_and_ends_with_new_seeds(tmp_path: Path) -> None:
    study = new_search(tmp_path, trials=24)
    records = play(study)
    search = [record for record in records if record.trial.phase == "search"]
    assert len(search) == 24
    assert search[0].trial.recipe == PLAIN
    first, second = ([r.trial.recipe.lr for r in search[a:b]] for a, b in ((1, 12), (12, 24)))
    assert max(second) / min(second) < max(first) / min(first) / 3
    final = [record.trial for record in records if record.trial.phase == "final"]
    assert {trial.seed for trial in final} == {1, 2, 3}
    assert len(final) == 3 * 4  # the base and three others
    found = read_search(study)
    assert found.winner is not None
    assert found.winner.trial.recipe.lr == pytest.approx(0.3, rel=0.5)
    assert found.final is not None
    assert [verdict.second for verdict in found.final.verdicts] == [found.winner.trial.candidate]
    assert found.selection_bias is not None
    assert found.selection_bias > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_search_that_is_cut_off_goes_on_as_if_it_had_not_been(method: str, tmp_path: Path) -> None:
    if method == "tpe":
        pytest.importorskip("optuna")
    whole, cut = (new_search(tmp_path / name, method=method, trials=11) for name in ("whole", "cut"))
    play(whole)
    while not (records := play(Study(cut.path), most=1)) or not all(record.is_ended for record in records):
        pass
    play(Study(cut.path))
    for a, b in zip(whole.records(), cut.records(), strict=True):
        assert (a.trial.changes, a.trial.seed, a.score) == (b.trial.changes, b.trial.seed, b.score)
    numbers = [record.trial.number for record in cut.records()]
    assert numbers == list(range(len(numbers)))


def test_tpe_finds_the_better_part(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    records = play(new_search(tmp_path, method="tpe", trials=24, repeats=0))
    late = [abs(math.log(record.trial.recipe.lr / 0.3)) for record in records[14:]]
    early = [abs(math.log(record.trial.recipe.lr / 0.3)) for record in records[1:9]]
    assert sum(late) / len(late) < sum(early) / len(early)


def test_rungs_are_complete_schedules_that_the_better_half_reaches(tmp_path: Path) -> None:
    records = play(new_search(tmp_path, rungs=(0.25, 0.5, 1.0), trials=12, method="random"))
    by_phase = {
        phase: [record for record in records if record.trial.phase == phase]
        for phase in ("search", "rung 2", "rung 3", "final")
    }
    assert [len(part) for part in by_phase.values()] == [12, 6, 3, 12]
    assert {record.trial.recipe.epochs for record in by_phase["search"]} == {0.75}
    assert {record.trial.recipe.epochs for record in by_phase["rung 2"]} == {1.5}
    assert {record.trial.recipe.epochs for record in by_phase["rung 3"]} == {3.0}
    kept = {record.trial.candidate for record in by_phase["rung 2"]}
    worst_kept = min(r.score or 0 for r in by_phase["search"] if r.trial.candidate in kept)
    assert all((r.score or 0) <= worst_kept for r in by_phase["search"] if r.trial.candidate not in kept)
    assert {record.trial.recipe.epochs for record in by_phase["final"]} == {3.0}


def test_minutes_leave_time_for_the_last_phases(tmp_path: Path) -> None:
    records = play(new_search(tmp_path, trials=100, minutes=10.0, method="random"), seconds=10.0)
    assert len([r for r in records if r.trial.phase == "search"]) == 48  # 12 of the 60 are the final repeats
    assert len(records) == 60


def test_where_all_trials_fail_there_is_no_best_one(tmp_path: Path) -> None:
    study = new_search(tmp_path, trials=4)
    records = play(study, lambda _: None)
    assert len(records) == 4
    found = read_search(study)
    assert (found.leaders, found.winner, found.final) == ((), None, None)
    assert (found.noise, found.selection_bias) == (None, None)


def test_the_base_may_be_the_best(tmp_path: Path) -> None:
    study = new_search(tmp_path, trials=6)
    play(study, lambda record: 0.9 if record.trial.candidate == "base" else 0.5 + record.trial.recipe.lr / 100)
    found = read_search(study)
    assert found.winner is not None
    assert found.winner.trial.candidate == "base"
    assert found.final is not None


def test_the_table_of_trials_is_safe_for_spreadsheets(tmp_path: Path) -> None:
    study = new_search(tmp_path, trials=3)
    with study.lock():
        study.enqueue(next_trials(study, 2))
    with study.claim() as record:
        assert record is not None
        study.end(Record(record.trial, "failed", "=HYPERLINK(1)"))
    write_trials(study, read_space(SPACE, PLAIN))
    rows = list(csv.DictReader((study.path / "trials.csv").read_text().splitlines()))
    assert rows[0]["reason"] == "'=HYPERLINK(1)"
    assert float(rows[0]["lr"]) == PLAIN.lr


def test_figures_of_a_search(tmp_path: Path) -> None:
    study = new_search(tmp_path, trials=16, space=f"{SPACE}; augment=choice(none, flip)")
    records, space = play(study), read_space(f"{SPACE}; augment=choice(none, flip)", PLAIN)
    shares = importance(space, records)
    assert shares[0][0] == "lr"
    assert shares[0][1] > 0.5
    axes, threads = parallel(space, records, 600, 200)
    assert [axis.name for axis in axes][:3] == ["lr", "optimizer.momentum", "augment"]
    assert all(0 <= float(pair.split(",")[1]) <= 200 for thread in threads for pair in thread.points.split())
    drawn = history(records, 600, 200)
    assert drawn is not None
    assert next(dot.is_best for dot in drawn[0])
    assert importance(space, records[:3]) == []


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"rungs": (0.5,)}, "end with 1"),
        ({"rungs": (1.0, 0.5)}, "rising"),
        ({"keep_fraction": 1.5}, "between 0 and 1"),
        ({"space": "lr=log(1,0)"}, "the lower first"),
    ],
)
def test_what_a_search_refuses(more: dict[str, Any], part: str, tmp_path: Path) -> None:
    with refused(part):
        new_search(tmp_path, **more)


@pytest.mark.slow
def test_a_search_with_real_trainings(tmp_path: Path) -> None:
    study = new_search(tmp_path, trials=4, repeats=1, rungs=(0.5, 1.0))
    for _ in run_search(study, ONE_THREAD, jobs=2):
        pass
    records = study.records()
    assert [record.trial.phase for record in records].count("search") == 4
    assert all(record.status == "complete" for record in records)
    with open(study.path / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_accuracy"]) for row in rows] == [record.score for record in records]
