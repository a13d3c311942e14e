"""Logits that are too large to be kept go to a file and are mapped: the run has the same bytes, only less memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_trainings import PLAIN, finish, made_data, new_run

from pocketlens.data.dataset import seal
from pocketlens.evaluation.open_test import open_test
from pocketlens.report import write_report
from pocketlens.scoring import predictions, row_blocks
from pocketlens.training import fit, predict_part


def test_logits_that_do_not_stay_in_memory_give_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, test, runs = made_data(96), made_data(40), []
    for name in ("kept", "mapped"):
        monkeypatch.setenv("POCKETLENS_HOME", str(tmp_path / name))
        if name == "mapped":
            for module in (predictions, fit, predict_part):
                monkeypatch.setattr(module, "IN_MEMORY", 0)
            monkeypatch.setattr(row_blocks, "BLOCK", 20)
        run = new_run(tmp_path / name, PLAIN.changed(epochs=1.0, keep="best"), dataset)
        finish(run, dataset)
        open_test(run, seal(test), views=2)
        write_report(run, dataset, seal(test))
        runs.append(run)
    kept, mapped = (
        {path.name: path.read_bytes() for path in run.path.iterdir() if path.name.startswith(("pred", "score", "mist"))}
        for run in runs
    )
    assert {"predictions-val.safetensors", "scores-test.json", "scores-test-views.json"} <= kept.keys()
    assert kept == mapped
    assert runs[0].history() == runs[1].history()
