"""The choice between a pretrained body and training from scratch: what is tried, on which rows, and what follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from made_sessions import followed
from PIL import Image

from pocketlens.data.dataset import Dataset, hash_images, seal
from pocketlens.data.split import make_split
from pocketlens.errors import PocketlensError
from pocketlens.events import Note, Stage, Step, finish
from pocketlens.models._bodies import EMBEDDED, Body, find_body, probe_recipe
from pocketlens.pipeline import AutoOptions, AutoResult, approach_choice, approach_trials, entry, planning, run_auto
from pocketlens.pipeline.approaches import Approach, Judged, judged_rows, judging_splits, obstacle, why_dropped
from pocketlens.pipeline.fine_tuned import Allowed
from pocketlens.recipe import NamedRecipe, Recipe, read_recipe
from pocketlens.scoring.choice import choose
from pocketlens.training.precision import PrecisionChoice

BODY = "test_resnet.r160_in1k"


def made(n: int, side: int) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)
    return Dataset("made", images, np.arange(n, dtype=np.int64) % 3, ("a", "b", "c"), hash_images(images))


@pytest.mark.parametrize(
    ("side", "n_train", "why"),
    [
        (8, 1000, "images of 8 px are too small"),
        (32, 50_000, "50,000 small images"),
        (32, 5_000, ""),
        (256, 50_000, ""),
    ],
)
def test_where_a_body_cannot_help_it_is_not_tried(side: int, n_train: int, why: str) -> None:
    dataset = made(6, side)
    found = obstacle(Approach("probe", read_recipe("probe"), dataset, seal(dataset)), n_train)
    assert (found is None) == (not why)
    assert why in (found or "")


def test_few_validation_rows_become_folds_over_all_rows() -> None:
    dataset = made(90, 8)
    split = make_split(dataset)
    splits = judging_splits(dataset, split)
    assert len(splits) == 3
    assert judged_rows(splits).tolist() == list(range(90)), "each row is judged once"
    assert all(not set(each.train) & set(each.val) and len(each.train) + len(each.val) == 90 for each in splits)
    enough = judging_splits(made(3000, 4), make_split(made(3000, 4), val_fraction=0.1))
    assert [len(each.val) > 900 for each in enough] == [True], "one fold of three holds enough rows to judge on"
    many = make_split(made(1200, 4), val_fraction=0.5)
    assert judging_splits(made(1200, 4), many) == (many,)


def test_an_approach_that_is_behind_beyond_chance_after_a_fold_is_dropped() -> None:
    dataset = made(90, 8)
    splits = judging_splits(dataset, make_split(dataset))
    approach = Approach("from scratch", read_recipe("small"), dataset, seal(dataset))
    best = Judged(replace(approach, name="probe"), np.ones(90, np.bool_), 1.0, 8)

    def after(n: int, n_right: int) -> str | None:
        right = np.arange(len(judged_rows(splits[:n]))) < n_right
        return why_dropped(Judged(approach, right, 1.0, 8), best, splits, n)

    assert after(1, 15) == "from scratch: dropped, 50.00% of 30 held-out images, where probe has 100.00%"
    assert after(1, 28) is None, "two of thirty may be chance"
    assert after(3, 15) is None, "all folds are done, and the choice sees them"
    assert why_dropped(replace(best, approach=approach), None, splits, 1) is None


def test_the_folds_of_a_fine_tuning_share_the_steps_of_the_first(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[Allowed] = []

    def train(task: object, name: str, recipe: object, split: object, given: Allowed):
        allowed.append(given)
        if len(allowed) == 3:
            raise PocketlensError("enough is known")
        yield from ()
        return SimpleNamespace(experiment=SimpleNamespace(n_steps=25))

    monkeypatch.setattr(approach_trials, "train_fine_tuned", train)
    monkeypatch.setattr(approach_trials, "why_dropped", lambda judged, best, splits, n: None)
    monkeypatch.setattr(approach_choice, "try_from_scratch", left_out)
    try_probe = approach_trials.try_probe

    def probe(*given: Any):
        judged = yield from try_probe(*given)
        monkeypatch.setattr(approach_trials, "judge", lambda approach, runs, seconds: judged)
        return judged

    monkeypatch.setattr(approach_choice, "try_probe", probe)
    with pytest.raises(PocketlensError, match="enough is known"):
        run_to_end(photos, minutes=2.0)
    assert [each.n_steps for each in allowed] == [None, 25, 25]
    assert len({each.seconds for each in allowed}) == 1
    assert 4.5 * allowed[0].seconds < 0.9 * 120, "as many epochs are left for the final training"


class Slow:
    """A session of a minute, of which `spent` seconds are gone."""

    limit = 60.0

    def __init__(self, spent: float) -> None:
        self.spent = spent


@pytest.mark.parametrize(
    ("spent", "n_test", "is_needed", "is_given_up"),
    [
        (10.0, 60, False, True),  # 45 s at least, of 0.45 x 50 s
        (10.0, 60, True, False),
        (50.0, 0, True, False),  # 15 s at least: 10 are left, and 15 are given
        (50.0, 0, False, True),
        (50.0, 60, True, True),
    ],
)
def test_features_that_take_too_long_are_given_up_at_the_first_images(
    spent: float, n_test: int, is_needed: bool, is_given_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 10.0, 13.0, 13.2, 13.3])  # the body is loaded in 7 s, and 10 images take 3
    said: list[int] = []

    def training(task: object, run: object):
        for done in (0, 10, 20, 30, 40):
            said.append(done)
            yield Step("features of the body", done, 40)

    monkeypatch.setattr(approach_trials, "train_run", training)
    monkeypatch.setattr(approach_trials.time, "monotonic", lambda: next(seconds))
    task: Any = SimpleNamespace(session=Slow(spent), sealed=range(n_test))
    run: Any = SimpleNamespace(status=lambda: ("new",))
    fitting = approach_trials._fit_head(task, run, is_needed=is_needed)
    assert (finish(fitting) is not None) == is_given_up
    assert said[-1] == (10 if is_given_up else 40)


def paint(folder: Path, n: int = 24, side: int = 40) -> None:
    """Two classes of pictures, one dark and one bright, of two sizes."""
    random = np.random.default_rng(0)
    for name, low in (("cat", 0), ("dog", 130)):
        (folder / name).mkdir(parents=True)
        for number in range(n):
            shape = (side + number % 2, side + 8, 3)
            Image.fromarray(random.integers(low, low + 120, shape, np.uint8)).save(folder / name / f"{number}.png")


def run_to_end(folder: Path, minutes: float = 0.5, **options: str) -> tuple[list[Stage | Note], AutoResult]:
    return followed(run_auto(AutoOptions(str(folder), minutes=minutes, runs=folder.parent / "runs", **options)))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, and a tiny body with random weights in place of the pretrained one."""
    torch.set_num_threads(1)
    recipe = read_recipe("probe").changed(model="timm(name='test_resnet')", prepare="resize(32)")
    monkeypatch.setattr(approach_choice, "probe_recipe", lambda body: recipe)
    monkeypatch.setattr(approach_trials, "SMALLER", ())
    small = Recipe(model="mlp(hidden=(16,))", augment="none", sizes="100%", optimizer="sgd", lr=0.02, epochs=5.0)
    usual = NamedRecipe("small", small.changed(batch_size=8))
    monkeypatch.setattr(entry, "usual_recipe", lambda n_train, channels: usual)
    paint(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.mark.slow
def test_both_are_judged_on_the_same_rows_and_the_chosen_one_is_tested(photos: Path) -> None:
    said, result = run_to_end(photos, minutes=20.0)
    stage = next(event for event in said if isinstance(event, Stage) and event.name == "approach")
    names = [each["name"] for each in stage.facts["candidates"]]
    assert names == ["probe", "fine-tuned", "from scratch"]
    assert stage.facts["judged_on"].endswith("development images, each held out of its training")
    assert stage.facts["chosen"] == "probe", "both are right, so the cheaper one is taken"
    recipe = result.run.experiment.recipe
    assert (recipe.head, recipe.freeze) == ("probe", "body")
    assert len(result.run.split.val) == 0, "fitted on all development rows"
    assert result.test is not None
    assert result.test.top1.value == 1.0
    assert result.choices["approach"] == "probe"
    page = result.page.read_text(encoding="utf-8")
    assert "Pretrained body, or from scratch" in page
    for name in ("A linear head on a pretrained network", "fine-tuned", "A network trained from scratch"):
        assert name in page

    _, same = run_to_end(photos, minutes=20.0)  # a finished session is not resumed: the test set stays closed
    assert same.test is None
    assert same.session != result.session


@pytest.mark.slow
def test_a_probe_that_is_tried_alone_is_taken(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approach_choice, "try_fine_tuning", left_out)
    monkeypatch.setattr(approach_choice, "try_from_scratch", left_out)
    said, result = run_to_end(photos)
    stage = next(event for event in said if isinstance(event, Stage) and event.name == "approach")
    assert stage.lines[-1] == "chosen: probe, the only one that was tried"
    assert (result.run.experiment.recipe.head, result.choices["approach"]) == ("probe", "probe")
    assert result.test is not None
    assert result.test.top1.value == 1.0


@pytest.mark.slow
def test_a_stopped_session_finds_what_it_has_chosen(photos: Path) -> None:
    events = run_auto(AutoOptions(str(photos), minutes=20.0, runs=photos.parent / "runs"))
    for event in events:
        if isinstance(event, Stage) and event.name == "approach":
            break
    events.close()
    said, result = run_to_end(photos, minutes=20.0)
    stages = [event.name for event in said if isinstance(event, Stage)]
    assert stages[:4] == ["auto", "resume", "data", "approach"]
    assert result.run.experiment.recipe.head == "probe"


LITE0, LITE1, LITE2 = (find_body(f"tf_efficientnet_lite{number}") for number in range(3))


@pytest.mark.parametrize(
    ("seconds", "loading", "n_test", "body", "found"),
    [
        (10.0, 1.0, 0, "auto", LITE2),  # 22 s of the 45 that are for it
        (10.0, 1.0, 100, "auto", LITE2),  # 30 s, test images included
        (10.0, 1.0, 400, "auto", LITE1),  # 52 s would be too many, 36 are not
        (10.0, 30.0, 100, "auto", None),  # photos that are read once more
        (60.0, 1.0, 0, "auto", None),
        (10.0, 1.0, 0, "resnet18", None),  # asked for
    ],
)
def test_a_larger_body_is_probed_where_the_time_allows_its_features(
    seconds: float, loading: float, n_test: int, body: str, found: Body | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approach_trials, "larger_packaged", lambda: (LITE2, LITE1))
    dataset = made(300, 16)
    split = make_split(dataset)
    session = SimpleNamespace(
        limit=310.0, spent=10.0, state=SimpleNamespace(request=SimpleNamespace(body=body), loading=loading)
    )
    task: Any = SimpleNamespace(session=session, sealed=range(n_test))
    probe = Judged(Approach("probe", probe_recipe(EMBEDDED), dataset, seal(dataset)), np.ones(300, bool), seconds, 224)
    splits = judging_splits(dataset, split)
    assert approach_trials.larger_body(task, probe, splits) == found
    cropped = probe.approach.recipe.changed(prepare="resize(184) | middle(160)")
    smaller = replace(probe, approach=replace(probe.approach, recipe=cropped))
    assert approach_trials.larger_body(task, smaller, splits) is None, "time was short for the small body already"


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["probe", "larger probe"])
def test_the_better_of_two_bodies_is_taken_and_found_again(
    chosen: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = approach_choice.probe_recipe("any")
    larger = small.changed(model="timm(name='test_resnet.r160_in1k')", prepare="resize(40)")
    monkeypatch.setattr(approach_choice, "probe_recipe", lambda body: larger if body == BODY else small)
    monkeypatch.setattr(approach_choice, "larger_body", lambda task, judged, splits: SimpleNamespace(name=BODY))
    monkeypatch.setattr(approach_choice, "try_fine_tuning", left_out)
    monkeypatch.setattr(approach_choice, "try_from_scratch", left_out)
    if chosen == "larger probe":
        monkeypatch.setattr(approach_choice, "choose", lambda right, groups: replace(choose(right), chosen=chosen))
    events = run_auto(AutoOptions(str(photos), minutes=0.5, runs=photos.parent / "runs"))
    stage = next(event for event in events if isinstance(event, Stage) and event.name == "approach")
    events.close()
    assert [each["name"] for each in stage.facts["candidates"]] == ["probe", "larger probe"]
    assert stage.facts["chosen"] == chosen
    _, result = run_to_end(photos)
    wanted = larger if chosen == "larger probe" else small
    assert (result.run.experiment.recipe.model, result.run.experiment.recipe.prepare) == (wanted.model, wanted.prepare)
    assert "larger pretrained network" in result.page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_none_trains_from_scratch_alone(photos: Path) -> None:
    said, result = run_to_end(photos, minutes=0.1, body="none")
    assert all(event.name != "approach" for event in said if isinstance(event, Stage))
    assert result.run.experiment.recipe.head != "probe"


def test_where_nothing_can_be_held_out_a_body_is_not_tried(photos: Path) -> None:
    files = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    rows = [f"{file},{file.split('/')[0]},{file.split('/')[0]}" for file in files]
    (photos / "labels.csv").write_text("\n".join(["file,label,patient", *rows]))
    data = f"folder({str(photos)!r}, labels='labels.csv', group='patient')"
    events = run_auto(AutoOptions(data, minutes=1.0, runs=photos.parent / "runs"))
    for event in events:
        assert not isinstance(event, Stage) or event.name in ("auto", "data"), "before anything is trained"
        if isinstance(event, Note) and event.text.startswith("no pretrained body"):
            break
    assert event == Note("no pretrained body: no images can be held out to judge it on")
    events.close()


@pytest.mark.slow
def test_a_body_that_takes_too_long_is_left_out(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approach_trials, "_fit_head", too_slow)
    monkeypatch.setattr(planning, "choose_precision", lambda *_: PrecisionChoice("bf16"))
    said, result = run_to_end(photos, minutes=0.2)
    lines = [line for event in said if isinstance(event, Stage) and event.name == "approach" for line in event.lines]
    assert "probe: the pretrained body takes too long here" in lines
    assert result.run.experiment.recipe.head != "probe"
    assert result.run.experiment.recipe.precision == "bf16", "chosen before the recipe was measured"


@pytest.mark.parametrize(("n_folds", "before"), [(3, "fold 2 of 3: "), (1, "")])
def test_notes_of_a_fold_name_it(n_folds: int, before: str) -> None:
    closed = []

    def training():
        try:
            yield Note("C 1")
            yield Step("features", 1, 2)
            return 5.0
        finally:
            closed.append(True)

    events = approach_trials._of_fold(training(), 2, n_folds)
    assert [next(events), next(events)] == [Note(f"{before}C 1"), Step("features", 1, 2)]
    with pytest.raises(StopIteration) as ended:
        next(events)
    assert ended.value.value == 5.0
    stopped = approach_trials._of_fold(training(), 2, n_folds)
    next(stopped)
    stopped.close()
    assert closed == [True, True]


def too_slow(task: object, run: object, *, is_needed: bool):
    yield from ()
    return 1000.0


@pytest.mark.slow
def test_where_fine_tuning_is_chosen_the_final_run_is_fine_tuned(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approach_choice, "choose", lambda right, groups: replace(choose(right), chosen="fine-tuned"))
    monkeypatch.setattr(approach_choice, "try_from_scratch", left_out)
    _, result = run_to_end(photos, minutes=20.0)
    recipe = result.run.experiment.recipe
    assert (recipe.head, recipe.freeze) == ("probe", read_recipe("finetune").freeze)
    assert recipe.model == "timm(name='test_resnet')"
    assert result.run.experiment.alpha is not None, "without validation rows, the folds have chosen it"
    assert result.test is not None
    assert result.run.status()[0] == "complete"


def left_out(*_: object):
    yield from ()
    return "from scratch: not tried"
