"""A mistyped path, part or column is answered with the text that was meant, and that text works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from made_images import class_folder

from pocketlens.cli import main
from pocketlens.datasets import load
from pocketlens.errors import PocketlensError
from pocketlens.text import near_path, path_hint


def test_the_nearest_names_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "photos").mkdir(parents=True)
    (tmp_path / "data" / "labels.csv").touch()
    (tmp_path / "data" / ".hidden").mkdir()
    monkeypatch.chdir(tmp_path)
    assert near_path("dta/fotos/") == str(Path("data/photos"))
    assert near_path(str(tmp_path / "data" / "fotos")) == str(tmp_path / "data" / "photos")
    assert near_path("lables.csv", (".csv",), below="data") == "labels.csv"
    assert near_path("fotos", (".csv",), below="data") is None, "the name of a file was wanted"
    assert near_path("PHOTOS", below="data") == "photos"
    assert near_path("hidden", below="data") is None
    assert near_path("data/nothing/like/it") is None
    assert near_path("data/labels.csv/x") is None, "a file has no entries"
    assert (path_hint("dat", "--data"), path_hint("xyz")) == (' Did you mean --data "data"?', "")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    class_folder(tmp_path / "photos", {"a": 6, "b": 6})
    for number, part in enumerate(("train", "val", "test")):
        class_folder(tmp_path / "parts" / part, {"a": 4, "b": 4}, seed=number)
    class_folder(tmp_path / "flat", {"": 12})
    rows = [f"{i:03}.png,{'xy'[i % 2]},{i // 2},{'AB'[i > 8]}" for i in range(12)]
    (tmp_path / "flat" / "labels.csv").write_text("\n".join(["file,kind,patient,part", *rows]).replace("part,A", "p,A"))
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("fotos/", "photos"),
        ("foldr('photos')", None),
        ("folder('fotos')", "folder(path='photos')"),
        ("folder('flat', labels='lables.csv', label_column='kind')", "labels='labels.csv'"),
        ("folder('flat', labels='labels.csv', label_column='kindd')", "label_column='kind'"),
        ("folder('flat', labels='labels.csv', label_column='kind', group='patiant')", "group='patient'"),
        ("folder('flat', labels='labels.csv', label_column='kind', file_column='fiel')", "file_column='file'"),
        ("folder('parts', test='tset')", "test='test'"),
        ("folder('parts', val='vla')", "val='val'"),
    ],
)
def test_what_is_meant_is_said_and_works(folders: Path, typed: str, meant: str | None) -> None:
    with pytest.raises(PocketlensError) as caught:
        load(typed)
    said = re.search(r'Did you mean "(.*)"\?$', str(caught.value))
    if meant is None:
        assert "Did you mean 'folder'?" in str(caught.value)
        return
    assert said is not None, str(caught.value)
    assert meant in said[1]
    assert len(load(said[1])[0])


def test_npz_and_parquet_are_looked_for_by_their_endings(folders: Path) -> None:
    for name in ("set.npz", "set.parquet", "set.py"):
        (folders / name).touch()
    for reader in ("npz", "parquet"):
        with pytest.raises(PocketlensError, match=rf"Did you mean \"{reader}\(path='set\.{reader}'\)\"\?"):
            load(f"{reader}('sett.{reader}')")


def test_options_of_paths(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["look", "photos", "--data", "phots"]) == 2
    assert 'Did you mean --data "photos"?' in capsys.readouterr().err
    assert main(["train", "photos", "--relabel", "flat/label.csv"]) == 2
    assert "Did you mean --relabel" in capsys.readouterr().err
