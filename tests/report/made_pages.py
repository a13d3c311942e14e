"""A page of every kind that people see, for the tests that open them in a browser: of files, and of servers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_images import encoded, random_images
from made_looks import Issue, make_look
from made_predictors import made_predictor, strict
from made_runs import MadeRun, make_dataset, make_run, make_sealed
from made_trainings import PLAIN, finish, made_data, new_run
from made_views import make_view
from served import served
from test_compare import with_scores
from test_look_page import audited
from test_report import open_by_hand
from test_search import new_search, play
from test_story import approaches, augmentations, planned, state_of
from test_transfer import LENS, made_transfer

from pocketlens.audit import outliers
from pocketlens.audit.review import app as review_app
from pocketlens.audit.review.decisions import Decisions
from pocketlens.audit.review.findings import read_findings
from pocketlens.data.dataset import Dataset, seal
from pocketlens.evaluation.corruptions import FAMILIES
from pocketlens.evaluation.robustness import CorruptionScore, Robustness
from pocketlens.evaluation.score_on import OnScores
from pocketlens.events import finish as run_to_its_end
from pocketlens.files import read_json, write_json
from pocketlens.inference.serve import Guard, Limits
from pocketlens.inference.serve.app import make_app
from pocketlens.inference.serve.demo import Demo, Sample
from pocketlens.locks import try_lock
from pocketlens.pipeline.page import write_story
from pocketlens.pipeline.phase_result import PhaseResult
from pocketlens.pipeline.story import tell_story
from pocketlens.recipe import Recipe
from pocketlens.report import write_report
from pocketlens.report.audit.page import write_audit_page
from pocketlens.report.opened.app import make_index_app
from pocketlens.report.opened.entries import SessionEntry
from pocketlens.report.run.explanations import write_explanations
from pocketlens.report.run.facts import read_facts
from pocketlens.report.run.gallery import make_gallery
from pocketlens.report.run.page_text import render
from pocketlens.report.run.side_by_side import write_comparison
from pocketlens.report.study.page import write_study_page
from pocketlens.scoring.metrics import Estimate, proportion
from pocketlens.scoring.predictions import surest_mistakes
from pocketlens.scoring.scores import Scores
from pocketlens.training.validation_scores import leave_latest

CLASSES = tuple(f"class number {k}" for k in range(30))
LONG = "one_word_" * 9  # which no line breaks by itself
TOKEN = "token"


def file_pages(folder: Path) -> dict[str, str]:
    """The addresses of pages that are files, by kind."""
    dataset = make_dataset(900, CLASSES, superclasses=("one", "two"), superclass_of=tuple(k % 2 for k in range(30)))
    sealed = make_sealed(90, CLASSES, shape=(32, 32, 3))
    run, tested = (make_run(folder / kind, dataset, skill=2.0) for kind in ("validation", "test"))
    open_by_hand(tested, dataset)
    facts = read_facts(run, dataset, sealed)
    page = folder / "with a map.html"
    page.write_text(render(facts, make_view(facts, dataset, run.split.train)), encoding="utf-8")
    paths = {
        "validation": page,
        "test": write_report(tested, dataset, sealed),
        "measured": measured_page(folder / "measured"),
        "auto": story_page(folder / "session", run, dataset),
        "look": look_page(folder / "look"),
        "side by side": side_by_side_page(folder / "runs"),
        "explain": explain_page(folder / "explained"),
        "study": write_study_page(
            with_scores(folder / "study", {"base": [0.50, 0.53, 0.51], "lr=0.2": [0.7, 0.73, 0.7]})
        ),
        "search": search_page(folder / "search"),
        "transfer": transfer_page(folder / "transfer"),
    }
    addresses = {kind: path.as_uri() for kind, path in paths.items()}
    mistake = make_gallery(facts, ()).data["row"][0]
    return {
        **addresses,
        "gallery": f"{addresses['test']}#images?sort=row&at=7",
        "nearest": f"{addresses['validation']}#images?at={mistake}",
    }


@contextlib.contextmanager
def served_pages(folder: Path) -> Iterator[dict[str, str]]:
    """The addresses of pages of servers, by kind, while these serve."""
    with contextlib.ExitStack() as stack:
        index = stack.enter_context(serving_index(folder / "index"))
        review = stack.enter_context(serving_review(folder / "review"))
        demo = stack.enter_context(serving_demo())
        live = f"{index}live/20250101-000001-bbbb"
        yield {"index": index, "live": live, "review": review, "serve": demo, "docs": f"{demo}docs"}


def measured_page(folder: Path) -> Path:
    """The page of a run with accuracies under corruptions, and with scores on other data."""
    dataset = make_dataset(120, (LONG, *CLASSES[:3]))
    run = make_run(folder, dataset, skill=2.0)
    share = proportion(70, 100)
    rows = [
        CorruptionScore(family, corruption.__name__, (share,) * 5, share)
        for family, corruptions in FAMILIES.items()
        for corruption in corruptions
    ]
    write_json(run.file("robustness.json"), Robustness(100, share, share, tuple(rows)).to_dict())
    scores = Scores.from_dict(read_json(run.file("scores-val.json")))
    other = OnScores(f"folder('/home/me/{LONG}')", "0" * 16, scores, None, 3, ("bee",))
    write_json(run.file("scores-on-00000000.json"), other.to_dict())
    return write_report(run, dataset)


def story_page(session: Path, run: MadeRun, dataset: Dataset) -> Path:
    session.mkdir()
    done = {
        "approach": approaches(),
        "plan": planned(),
        "augment": augmentations(),
        "final": PhaseResult(("said",), {}, 190.0),
    }
    facts = read_facts(run, dataset)
    return write_story(session, tell_story(session, state_of(done), run, facts, 200.0), facts)


def look_page(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outliers, "_LEAST_STEPS", 6)
        small = make_dataset(120, CLASSES[:4], shape=(12, 12, 3))
        return write_audit_page(audited(small, augment="flip"), folder)


def side_by_side_page(folder: Path) -> Path:
    dataset = make_dataset(200, (LONG, *CLASSES[:24]), shape=(8, 8, 3))
    runs = [
        make_run(folder, dataset, id=f"20250101-00000{place}-abcd", label=label, skill=skill, recipe=Recipe(lr=skill))
        for place, (label, skill) in enumerate(((LONG, 1.0), ("second", 2.0), ("", 3.0)))
    ]
    return write_comparison(runs, folder, dataset)["html"]


def explain_page(folder: Path) -> Path:
    made = made_data(64)
    dataset = Dataset("digits", made.images, made.labels, (LONG, *CLASSES[:3]), made.hashes)
    run = new_run(folder, PLAIN.changed(model="lenet", epochs=1.0), dataset, label=LONG)
    finish(run, dataset)
    return run_to_its_end(write_explanations(run, dataset, [3, 5]))


def search_page(folder: Path) -> Path:
    study = new_search(folder, trials=8)
    play(study)
    return write_study_page(study)


def transfer_page(folder: Path) -> Path:
    source = new_run(folder, LENS, label="source")
    finish(source)
    return write_study_page(made_transfer(folder, source))


@contextlib.contextmanager
def serving_index(home: Path) -> Iterator[str]:
    """`pocketlens open` on a run that was tested, one that is trained now and one that failed, and all else."""
    folder, dataset = home / "runs", make_dataset(90, (LONG, "ant", "bee"), (8, 8, 1))
    open_by_hand(make_run(folder, dataset, id="20250101-000000-aaaa", label="first"), dataset)
    run = make_run(folder, dataset, id="20250101-000001-bbbb", label=LONG, recipe=Recipe(epochs=9.0))
    run.file("scores-val.json").unlink()
    surest = surest_mistakes(np.zeros((18, 3), np.float32), dataset.labels[run.split.val])
    leave_latest(run, dataset, {"epoch": 5, "val_accuracy": 1 / 3}, surest)
    make_run(folder, dataset, id="20250101-000002-cccc", state=("failed", LONG), n_epochs=0, val_fraction=0.0)
    (folder / "20250101-000003-dddd").mkdir()
    write_json(folder / "20250101-000003-dddd" / "experiment.json", {})
    with_scores(folder.parent, {"base": [0.5, 0.53], "lr=0.2": [0.7, 0.73]})
    estimate = Estimate(0.9, 0.8, 0.95)
    session = SessionEntry("one", LONG, LONG, "complete", "report", 60.0, 120.0, estimate, "test", 1.7e9, ())
    held = try_lock(run.file("lock"))
    assert held is not None
    with held:
        run.set_status("running")
        app = make_index_app(folder, Guard("127.0.0.1", TOKEN), lambda _: [session])
        with served(app, TOKEN) as address:
            yield address


@contextlib.contextmanager
def serving_review(folder: Path) -> Iterator[str]:
    """`pocketlens review` on a made look."""
    dataset = make_dataset(40, ("ant", "bee", "cat", LONG), shape=(28, 28, 1))
    sealed = seal(make_dataset(8, dataset.classes, shape=dataset.shape))
    issues = [Issue(row, dataset.classes[(row + 1) % 4]) for row in (6, 5, 8, 3)]
    look = make_look(folder / "look", dataset, issues, "development,6,test,2,0.1,near,mirrored\n", "9,,1,1\n")
    findings = read_findings(look, dataset, sealed)
    book = Decisions(folder / f"{LONG}.csv", dataset, findings.items)
    guard = Guard("127.0.0.1", TOKEN, body=review_app.MOST_BYTES)
    review = review_app.Review(dataset, findings, book, guard, f"pocketlens compare made base relabel={LONG}.csv")
    try:
        with served(review_app.make_app(review), TOKEN) as address:
            yield address
    finally:
        book.close()


@contextlib.contextmanager
def serving_demo() -> Iterator[str]:
    """`pocketlens serve` of a model with random weights."""
    sample = Sample(encoded(random_images(1, (12, 12, 3))[0]), LONG)
    demo = Demo(LONG, "91.20 % [90.10, 92.30] of 500 test images", (sample,) * 5, threshold=0.999)
    predictor = strict(made_predictor("lenet", classes=[LONG, "bee", "cat", "dog"]), -1e9)
    guard = Guard("127.0.0.1", TOKEN, body=Limits().form)
    with served(make_app(predictor, guard, "cpu", Limits(), demo), TOKEN) as address:
        yield address
