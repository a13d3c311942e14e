"""A trial's process runs nothing of the program that started it."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing.spawn import get_preparation_data
from pathlib import Path

import pytest

from pocketlens.studies.process import _main_hidden

SCRIPT = """
import pocketlens as pl

verdict = pl.compare("digits", ["base", "augment=none"], model="mlp", epochs=0.3, threads=1, repeat=1, verbose=False)
print([each.statuses for each in verdict.comparison.candidates])
"""


def test_a_new_process_does_not_learn_which_program_this_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.setattr(main, "__file__", "script.py", raising=False)
    told = {"init_main_from_name", "init_main_from_path"}
    assert told & set(get_preparation_data("a trial"))
    with _main_hidden():
        assert not told & set(get_preparation_data("a trial"))
    assert main.__file__ == "script.py"


@pytest.mark.slow
def test_a_script_without_a_guard_compares(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.stdout == "[('complete',), ('complete',)]\n", done.stderr
