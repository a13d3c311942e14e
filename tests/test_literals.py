r"""Texts in quotes are read as they are typed, written back as they would be typed, and old ones stay readable."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_images import class_folder, refused

from pocketlens.components import Component, parse_one, parse_pipe
from pocketlens.datasets import component
from pocketlens.literals import python_reading, read_literal, write_literal
from pocketlens.studies.overrides import read_variant, split_text

ODD = st.text(st.sampled_from("\\\\\\'\" ,()[]{};|=:ntuxU0aé\n\x1b\x7f\u202e\udcff/C"), max_size=12)
TEXTS = ODD | st.text(max_size=20)
LITERALS = st.recursive(
    TEXTS | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (r"'C:\Users\me'", "C:\\Users\\me"),
        (r"'D:\new\x1\table'", "D:\\new\\x1\\table"),
        (r'"C:\Users\me"', "C:\\Users\\me"),
        (r"'C:\Users\me\'", "C:\\Users\\me\\"),
        (r"'C:\\Users\\me'", "C:\\Users\\me"),
        (r"'C:\\Users\\me\\'", "C:\\Users\\me\\"),
        (r"'\\server\share\x'", "\\\\server\\share\\x"),
        (r"'\\\\server\\share'", "\\\\server\\share"),
        (r"'\new'", "\\new"),
        (r"'it\'s'", "it's"),
        (r"'it\'s \"so\"'", 'it\'s \\"so\\"'),
        ("'/data/photos'", "/data/photos"),
        ("''", ""),
        (r"'\'", "\\"),
        (r"'\\'", "\\"),
        (r"u'a\nb\\c\'d'", "a\nb\\c'd"),
        (r"r'C:\new'", "C:\\new"),
        ("'a' \"b\"", "ab"),
    ],
)
def test_what_is_typed_is_what_is_meant(typed: str, meant: str) -> None:
    assert read_literal(typed) == meant
    assert dict(parse_one(f"folder({typed}, labels='a.csv')", "datasets").options)["path"] == meant
    assert dict(parse_one(f"folder(labels='a.csv', path={typed} )", "datasets").options)["path"] == meant


@given(LITERALS)
def test_every_literal_is_read_back(value: object) -> None:
    assert read_literal(write_literal(value)) == value


@given(TEXTS, TEXTS)
def test_components_are_read_back_alone_in_pipes_and_in_lists_of_changes(path: str, labels: str) -> None:
    written = Component("folder", (("path", path), ("labels", labels)))
    assert parse_one(str(written), "datasets") == written
    assert parse_pipe(f"{written} | digits | {written}", "datasets") == (written, Component("digits"), written)
    assert split_text(f"a={written}; b={written};", ";") == [f"a={written}", f"b={written}"]


@given(st.text(st.characters(codec="utf-8"), max_size=20).filter(str.isprintable))
def test_what_needs_no_care_is_written_as_it_is(text: str) -> None:
    value = text.replace("'", "").replace("\\\\", "")
    if not value.endswith("\\"):
        assert write_literal(value) == f"'{value}'"
    assert read_literal(f"'{value}'") == value


@given(ODD.filter(str.isprintable))
def test_texts_that_earlier_versions_wrote_are_read_as_before(value: str) -> None:
    """They wrote them as Python does, with two backslashes for each."""
    if not value.startswith("\\") and not {"'", '"'} <= set(value):
        assert read_literal(repr(value)) == value


@pytest.mark.parametrize("text", ["folder('C:\\new", "folder('a)", "folder('it\\'s)", "folder(('a')", "folder('a'))"])
def test_what_is_not_closed_is_refused(text: str) -> None:
    with refused("datasets"):
        parse_one(text, "datasets")


def test_a_quote_in_a_quoted_change() -> None:
    text = r"augment='crop(pad=2) | flip'; model='timm(\'resnet18\', weights=\'C:\w.safetensors\')'"
    from pocketlens.recipe import Recipe

    recipe = read_variant(text, Recipe()).recipe
    assert recipe.model == r"timm('resnet18', weights='C:\w.safetensors')"
    assert dict(parse_one(recipe.model, "models").options)["weights"] == r"C:\w.safetensors"


def test_a_folder_with_a_line_break_in_its_name_in_an_old_run(tmp_path: Path) -> None:
    folder = tmp_path / "a\nb"
    class_folder(folder, {"a": 2, "b": 2})
    old = f"folder(path={str(folder)!r})"
    assert dict(component(old).options)["path"] == str(folder)
    written = str(component(old))
    assert written.startswith("folder(path=u'")
    assert component(written) == component(old)
    assert python_reading("/a/b") is None
    assert python_reading('"') is None


def test_a_windows_path_is_not_refused() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "absolute", lambda self: self)  # of another system
        assert str(component(r"folder('C:\Users\new')")) == r"folder(path='C:\Users\new')"
