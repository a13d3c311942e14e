"""Each opening of test rows is on record, whoever writes at the same time and whatever happens afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import make_sealed

from pocketlens.errors import PocketlensError
from pocketlens.files import ledger_file
from pocketlens.scoring import ledger


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLENS_HOME", str(tmp_path / "home"))


def test_openings_are_counted_by_the_images_alone() -> None:
    sealed, other = make_sealed(20, ("a", "b")), make_sealed(21, ("a", "b"))
    assert ledger.openings(sealed) == []
    for number in (1, 2, 3):
        assert len(ledger.record(sealed, run=f"r{number}", recipe="00", weights="11")) == number
    assert len(ledger.record(other, run="r4", recipe="00", weights="11")) == 1
    assert [entry.run for entry in ledger.openings(sealed)] == ["r1", "r2", "r3"]
    assert len(ledger.openings(replace(sealed, text="the same images under another name"))) == 3
    assert len(ledger.openings(sealed.fingerprint)) == 3


def test_a_line_holds_what_is_needed_to_find_the_weights_again() -> None:
    sealed = make_sealed(20, ("a", "b"), text="digits")
    ledger.record(sealed, run="r1", recipe="00aa", weights="11bb")
    line = json.loads(ledger_file().read_text().splitlines()[0])
    assert line.pop("time").endswith("+00:00")
    assert line == {"run": "r1", "recipe": "00aa", "weights": "11bb", "test": sealed.fingerprint, "data": "digits"}


def test_a_torn_last_line_is_cut_off() -> None:
    sealed = make_sealed(20, ("a", "b"))
    ledger.record(sealed, run="r1", recipe="00", weights="11")
    with open(ledger_file(), "ab") as file:
        file.write(b'{"time": "20')
    assert len(ledger.openings(sealed)) == 1
    assert len(ledger.record(sealed, run="r2", recipe="00", weights="11")) == 2
    assert len(ledger_file().read_bytes().splitlines()) == 2


def test_writers_at_the_same_time_lose_nothing_and_each_knows_its_number() -> None:
    program = (
        "from made_runs import make_sealed\nfrom pocketlens.scoring import ledger\nimport sys\n"
        "sealed = make_sealed(20, ('a', 'b'))\n"
        "for i in range(20): print(len(ledger.record(sealed, run=f'{sys.argv[1]}-{i}', recipe='00', weights='11')))\n"
    )
    command, here = [sys.executable, "-c", program], Path(__file__).parent.parent
    writers = [subprocess.Popen([*command, str(i)], cwd=here, stdout=subprocess.PIPE, text=True) for i in range(4)]
    numbers = [int(word) for writer in writers for word in writer.communicate(timeout=60)[0].split()]
    assert [writer.returncode for writer in writers] == [0] * 4
    assert sorted(numbers) == list(range(1, 81))
    assert len({entry.run for entry in ledger.openings(make_sealed(20, ("a", "b")))}) == 80


@pytest.mark.parametrize("line", ["[1]", '{"time": "now"}', "no JSON"])
def test_a_bad_line_is_named(line: str) -> None:
    sealed = make_sealed(20, ("a", "b"))
    ledger_file().parent.mkdir()
    ledger_file().write_text(line + "\n")
    with pytest.raises(PocketlensError, match=r"ledger\.jsonl"):
        ledger.openings(sealed)


def test_a_ledger_that_cannot_be_written_keeps_the_test_part_closed(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(PocketlensError, match=r"stays sealed.*POCKETLENS_HOME"):
        ledger.record(make_sealed(20, ("a", "b")), run="r1", recipe="00", weights="11")


def test_ordinals() -> None:
    assert [ledger.ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 112)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "112th",
    ]  # fmt: skip
    assert ledger.describe_openings(3, 3) == "this test set has been opened 3 times; this is the 3rd opening"
