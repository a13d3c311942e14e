"""What all tests share: a home of their own for caches and ledger, few threads, and the real data where it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before torch is imported
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # waiting threads sleep soon, so that busy machines do not crawl
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process that a test starts compiles the package again
sys.dont_write_bytecode = False
os.fsync = os.fstat  # the power does not fail here, and a disk takes milliseconds; a bad descriptor is an error still


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new folder for each test, counted here: pytest's own numbers cost a listing of all before."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def _own_home(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and the ledger of a test lie in a folder of its own; no test reads what a person has at home."""
    home = next(_homes)
    home.mkdir()
    monkeypatch.setenv("POCKETLENS_HOME", str(home))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets, or a skip that says how to have it."""
    folder = os.environ.get("POCKETLENS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set POCKETLENS_DATA to the folder that holds cifar100/ and fashion_mnist/")
    return Path(folder)
