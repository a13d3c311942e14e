"""The session of auto: found again by its request, locked, closed, and read from files that older versions wrote."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pocketlens.errors import PocketlensError
from pocketlens.events import Note, Stage
from pocketlens.files import read_json, write_json
from pocketlens.pipeline.phase_result import PhaseResult
from pocketlens.pipeline.session import close_sessions, find_unfinished, open_session
from pocketlens.pipeline.state import AutoRequest, AutoState, FinalAttempt, Measured
from pocketlens.recipe import read_recipe

REQUEST = AutoRequest("digits", 1.0, False, "f")
BASE = read_recipe("small")
FRESH = AutoState(REQUEST, BASE, opens=True, loading=0.5)


def other_minutes(minutes: float) -> AutoState:
    return replace(FRESH, request=replace(REQUEST, minutes=minutes))


def written_before() -> dict[str, Any]:
    """An auto.json of format 1 as versions up to 0.1.0 wrote it, with every key that it may have."""
    return {
        "format": 1,
        "asked": {"text": "digits", "minutes": 4, "open_again": False, "fingerprint": "4a674bdfc13ab41e"},
        "spent": 97.25,
        "base": BASE.changed(lr=0.03).to_dict(),
        "begun": {"augment": 84.5, "final": 95.0},
        "done": {
            "plan": {"lines": ["final  2 min 0 s"], "facts": {"way": "20261130-122000-0000-03aa", "image": 0.003}},
            "augment": {"lines": ["cutout"], "facts": {"verdicts": {"cutout": "better"}, "chosen": "cutout"}},
            "search": {"lines": ["lr"], "facts": {"n_trials": 9, "chosen": {"lr": 0.03, "optimizer.momentum": 0.5}}},
        },
        "finished": "",
        "opens": True,
        "loading": 0.11,
        "measured": {
            "recipe": BASE.changed(lr=1.0, epochs=1.0).to_dict(),
            "image": 0.003,
            "judge": 0.001,
            "steps": {"8": 0.4},
        },
        "expected": 2.5,
        "excess": 0.75,
        "tries": 2,
        "pace": 1.5,
    }


def test_a_state_of_format_1_is_read_and_written_with_the_same_keys() -> None:
    before = written_before()
    state = AutoState.from_dict(before, "auto.json")
    assert state.request == AutoRequest("digits", 4.0, False, "4a674bdfc13ab41e")
    assert state.base.lr == 0.03
    assert state.measured == Measured(BASE.changed(lr=1.0, epochs=1.0), 0.003, 0.001, {"8": 0.4})
    assert state.deadlines == {"augment": 84.5}
    assert state.final == FinalAttempt(began=95.0, number=2, pace=1.5)
    assert (state.expected, state.excess, state.finished) == (2.5, 0.75, None)
    assert {name: result.choice for name, result in state.done.items()} == {
        "plan": None,
        "augment": "cutout",
        "search": "lr=0.03, optimizer.momentum=0.5",
    }
    assert [name for name, result in state.done.items() if result.has_verdict] == ["augment", "search"]
    assert state.to_dict() == before
    assert state.to_dict().keys() == before.keys()


def test_an_early_state_of_format_1_has_fewer_keys() -> None:
    late = ("measured", "expected", "excess", "tries", "pace")
    early = {key: value for key, value in written_before().items() if key not in late}
    state = AutoState.from_dict({**early, "begun": {}, "done": {}, "finished": "complete"}, "auto.json")
    assert (state.measured, state.final, state.expected, state.excess) == (None, None, 0.0, 0.0)
    assert not state.has_begun
    assert state.finished == "complete"
    again = AutoState.from_dict({**early, "begun": {"final": 3.0}}, "auto.json")
    assert again.final == FinalAttempt(began=3.0, number=1, pace=1.0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 2}, "must have format 1, got 2"),
        ({"asked": {"text": "digits"}}, "must hold the state of an auto session"),
        ({"begun": None}, "must hold the state of an auto session"),
        ({"spent": "long"}, "must hold the state of an auto session"),
    ],
)
def test_another_format_or_a_damaged_state_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(PocketlensError, match=why):
        AutoState.from_dict({**written_before(), **change}, "auto.json")


def test_what_a_phase_has_written_is_read_by_name() -> None:
    report = PhaseResult(("done",), {"run": "r", "path": "runs/r", "page": "autos/s/report.html"})
    assert (report.run, report.run_path, report.page) == ("r", Path("runs/r"), Path("autos/s/report.html"))
    nothing = PhaseResult(())
    assert (nothing.run, nothing.run_path, nothing.page, nothing.choice, nothing.test_scores) == (None,) * 5


def test_a_session_of_an_older_version_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "autos" / "20261130-122000-0000-03aa"
    folder.mkdir(parents=True)
    write_json(folder / "auto.json", written_before())
    state = AutoState.from_dict(written_before(), "auto.json")
    fresh = AutoState(state.request, BASE, opens=False, loading=0.0)
    with open_session(fresh, tmp_path, time.monotonic()) as session:
        assert session.id == folder.name
        assert replace(session.state, spent=97.25) == state
        assert 97.25 <= session.spent < 150
    assert {**read_json(folder / "auto.json"), "spent": 97.25} == written_before()


def test_a_session_is_found_by_its_request_and_counts_its_working_time(tmp_path: Path) -> None:
    with open_session(FRESH, tmp_path, time.monotonic() - 7) as session:
        session.finish_phase(Stage("look", ("seen",), {"n": 3}), BASE.changed(lr=0.5))
        with open_session(FRESH, tmp_path, time.monotonic()) as other:
            assert other.id != session.id, "a process works on it"
            other.save(replace(other.state, finished="complete"))
    with open_session(other_minutes(2.0), tmp_path, time.monotonic()) as third:
        assert not third.state.done
    with open_session(FRESH, tmp_path, time.monotonic()) as again:
        assert again.id == session.id
        assert 7 <= again.spent < 60
        assert again.state.base.lr == 0.5
        assert again.stage("look") == Stage("look", ("seen",), {"n": 3})
        assert close_sessions("digits", tmp_path) == [third.id], "not the one that is worked on"
    assert close_sessions("cifar100", tmp_path) == []
    assert close_sessions("digits", tmp_path) == [session.id]
    assert read_json(session.path / "auto.json")["finished"] == "given up"


def test_the_clock_is_saved_from_time_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_session(FRESH, tmp_path, time.monotonic() - 7) as session:
        file = session.path / "auto.json"
        saved = file.read_bytes()
        session.save_clock()
        assert file.read_bytes() == saved
        monkeypatch.setattr("pocketlens.pipeline.session.SECONDS_BETWEEN_SAVES", -1.0)
        time.sleep(0.02)
        session.save_clock()
        assert json.loads(file.read_bytes())["spent"] > json.loads(saved)["spent"] >= 7


def test_a_damaged_state_keeps_no_new_session_from_starting(tmp_path: Path) -> None:
    with open_session(FRESH, tmp_path, time.monotonic()) as session:
        pass
    (session.path / "auto.json").write_text("{", encoding="utf-8")
    with open_session(FRESH, tmp_path, time.monotonic()) as other:
        assert other.id != session.id
    (tmp_path / "file").write_text("", encoding="utf-8")
    with (
        pytest.raises(PocketlensError, match="folder that can be written"),
        open_session(FRESH, tmp_path / "file", 0.0),
    ):
        pass


def test_another_seed_is_another_session(tmp_path: Path) -> None:
    with open_session(FRESH, tmp_path, 0.0) as first:
        pass
    other = replace(FRESH, request=replace(REQUEST, seed=1))
    with open_session(other, tmp_path, 0.0) as second:
        assert second.id != first.id
    for seed, session in ((0, first), (1, second)):
        found = find_unfinished("digits", 1.0, False, tmp_path, seed=seed)
        assert found is not None
        assert found.request == session.state.request
    assert "seed" not in read_json(first.path / "auto.json")["asked"], "as versions before wrote it"


def test_a_session_whose_data_has_moved_is_named(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    at = {place: replace(REQUEST, text=f"folder(path={str(place)!r})") for place in (old, new)}
    with open_session(replace(FRESH, request=at[old]), tmp_path, time.monotonic()) as first:
        pass
    with open_session(replace(FRESH, request=at[new]), tmp_path, time.monotonic()) as there:
        assert not list(there.opening(has_begun=False)), "the data is still where it was: a copy"
    old.rename(new)
    with open_session(replace(FRESH, request=at[new]), tmp_path, time.monotonic()) as second:
        (note,) = second.opening(has_begun=False)
        assert isinstance(note, Note)
        assert all(part in note.text for part in (first.id, str(old), "a new session begins", "link to it"))
        assert [type(event) for event in second.opening(has_begun=True)] == [Stage]
    others = replace(at[new], fingerprint="of other images")
    with open_session(replace(FRESH, request=others), tmp_path, time.monotonic()) as third:
        assert not list(third.opening(has_begun=False))
