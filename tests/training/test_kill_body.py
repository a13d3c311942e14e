"""A probe and a fine-tuning that are killed at random moments go on and give the same bytes: features, fit and steps.

What is computed of the features is not computed again; a torn cache would show in the weights.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from children import child, receive
from made_trainings import contents, finish, made_data, new_run

from pocketlens.data.dataset import Dataset
from pocketlens.recipe import read_recipe
from pocketlens.training.run import Run

TINY = "timm(name='test_resnet')"  # with random weights: what matters here is the way, not the score
PROBE = read_recipe("probe").changed(model=TINY, prepare="none")
FINE = read_recipe("finetune").changed(
    model=TINY,
    prepare="none",
    augment="random_resized_crop(scale=(0.5, 1.0), size=32) | flip(alternate=False)",
    batch_size=16,
    epochs=2.0,
    lr=0.01,
    freeze="groups(2) | statistics",
)
KILLS = 20


def data() -> Dataset:
    return made_data(96, shape=(32, 32, 3))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["features", "fit"])
def test_a_probe_killed_20_times_gives_the_same_bytes(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert killed(tmp_path, monkeypatch, lambda runs: new_run(runs, PROBE, data()), moment) == []


@pytest.mark.slow
def test_a_fine_tuning_killed_20_times_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pocketlens.training.fine_tune import from_probe, probe_recipe

    def tuning(runs: Path) -> Run:
        probe = new_run(runs, probe_recipe(FINE), data())
        finish(probe, data())
        return new_run(runs, from_probe(FINE, probe, runs), data())

    assert killed(tmp_path, monkeypatch, tuning, "steps") == []


@pytest.mark.slow
def test_a_cache_that_claims_rows_before_they_are_there_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert killed(tmp_path, monkeypatch, lambda runs: new_run(runs, PROBE, data()), "features, claimed early") != []


def killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Run], moment: str, seed: int = 0
) -> list[str]:
    """Kills trainings KILLS times at uniformly random moments within `moment`, and resumes each until it is done."""
    template = make(folder / "template")
    monkeypatch.setenv("POCKETLENS_HOME", str(folder / "whole"))
    unbroken = Run(Path(shutil.copytree(template.path.parent, folder / "unbroken")) / template.path.name)
    seconds = _trained_until(unbroken, moment, None).seconds
    wanted, chance, n_killed = contents(unbroken), random.Random(seed), 0
    for attempt in range(10 * KILLS):
        monkeypatch.setenv("POCKETLENS_HOME", str(folder / f"home-{attempt}"))
        runs = Path(shutil.copytree(template.path.parent, folder / f"attempt-{attempt}"))
        run, code = Run(runs / template.path.name), -signal.SIGKILL
        while code == -signal.SIGKILL:
            code = _trained_until(run, moment, chance.uniform(0, seconds) if n_killed < KILLS else None).code
            n_killed += code == -signal.SIGKILL
        if code:
            return [f"after {n_killed} kills the training could not go on"]
        if contents(run) != wanted:
            return [f"after {n_killed} kills: {sorted(dict(contents(run).items() ^ wanted.items()))}"]
        if n_killed >= KILLS:
            return []
    return [f"only {n_killed} kills came in time"]


@dataclass(frozen=True)
class Ended:
    """The exit code of a child, and how many seconds it took from the moment on, where it was not killed."""

    code: int | None
    seconds: float = 0.0


def _trained_until(run: Run, moment: str, seconds: float | None) -> Ended:
    """Trains, and dies `seconds` after `moment` began, or never."""
    with child(train_and_tell, run.path, moment) as (process, pipe):
        said = receive(pipe)
        if seconds is None:
            spent = receive(pipe) if said == () else said  # a run whose checkpoint is there has no such moment any more
            process.join()
            return Ended(process.exitcode, float(spent))
        process.join(seconds)
        process.kill()
        process.join()
        return Ended(process.exitcode)


def train_and_tell(pipe: Any, path: Path, moment: str) -> None:
    """Trains, in a child; tells () when the moment begins, and at the end of the training how many seconds it took."""
    from pocketlens.training import features, linear_probe, probe
    from pocketlens.training.train import train

    features.CHUNK = 4
    began = [time.monotonic()]

    def begin() -> None:
        began[0] = time.monotonic()
        pipe.send(())

    if moment == "fit":
        fit = linear_probe.fit_linear_probe

        def fit_and_tell(*arguments: Any) -> Any:
            begin()
            return fit(*arguments)

        probe.fit_linear_probe = fit_and_tell  # type: ignore[assignment]
    else:
        begin()
    if moment.endswith("claimed early"):
        _claim_early(features.FeatureStore)
    for _ in train(Run(path), data(), save_every=1):
        pass
    pipe.send(time.monotonic() - began[0])


def _claim_early(store: Any) -> None:
    """Says that all rows of a chunk are there before their features are written."""
    import numpy as np

    from pocketlens.training import features

    put = store.put

    def put_late(self: Any, rows: Any, values: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        features._write_rows(self.folder / "there.bin", self.n, rows, np.ones((len(rows), 1), np.uint8))
        time.sleep(0.15)  # so long that most kills come here
        put(self, rows, values)

    store.put = put_late
