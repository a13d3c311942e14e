"""Component texts: literals only, checked without an import."""

from __future__ import annotations

import subprocess
import sys

import pytest
from made_images import refused

from pocketlens.components import ROOMS, Component, names, parse_one, parse_pipe, resolve, signature


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cifar100", Component("cifar100")),
        ("cifar100()", Component("cifar100")),
        (" cifar100( labels = 'coarse' ) ", Component("cifar100", (("labels", "coarse"),))),
        ("cifar100('coarse')", Component("cifar100", (("labels", "coarse"),))),
        ("folder('a', size=32)", Component("folder", (("path", "a"), ("size", 32)))),
        (
            "folder(path='a', follow=True, test=None)",
            Component("folder", (("path", "a"), ("follow", True), ("test", None))),
        ),
    ],
)
def test_texts_become_components(text: str, expected: Component) -> None:
    assert parse_one(text, "datasets") == expected
    assert parse_one(str(expected), "datasets") == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "not a component text"),
        ("cifar100(", "not a component text"),
        ("cifar1", "Did you mean 'cifar10'?"),
        ("cifar100(label='fine')", "Did you mean 'labels'?"),
        ("digits(size=3)", "It takes none."),
        ("cifar100('fine', 'coarse')", "at most 1 option, got 2"),
        ("cifar100('fine', labels='coarse')", "given twice"),
        ("cifar100(**{})", "has no option"),
        ("cifar100(labels=open('x'))", "must be literals"),
        ("cifar100(labels=fine/coarse)", "A text needs quotes: 'fine/coarse'."),
        ("cifar100(labels=__import__('os').system('x'))", "must be literals"),
        ("cifar100.fine", "must be a name"),
        ("(lambda: 1)()", "must be a name"),
        ("cifar100 + digits", "must be a name"),
        ("3", "must be a name"),
        ("(" * 500 + ")" * 500, "not a component text"),
        ("-" * 100_000 + "1", "not a component text"),
        ("cifar100\x00", "not a component text"),
    ],
    ids=lambda text: text[:30].replace("\x00", "0"),
)
def test_other_texts_are_refused(text: str, part: str) -> None:
    with refused("datasets: ", part):
        parse_one(text, "datasets")


def test_pipes() -> None:
    assert parse_pipe("none", "datasets") == parse_pipe("", "datasets") == ()
    assert parse_pipe("digits | stl10(classes='ship') | digits", "datasets") == (
        Component("digits"),
        Component("stl10", (("classes", "ship"),)),
        Component("digits"),
    )


@pytest.mark.parametrize("room", ROOMS)
def test_the_listing_of_a_room_is_its_registry(room: str) -> None:
    for name in names(room):
        known = signature(room, name)
        assert known.about
        function = resolve(Component(name), room)
        assert function.__name__ == name
        keywords = function.__kwdefaults__ or {}
        assert dict(known.options) == keywords


def test_checking_a_text_imports_nothing() -> None:
    program = (
        "import sys; from pocketlens.components import parse_one, names, signature\n"
        "parse_one(\"cifar100(labels='fine')\", 'datasets')\n"
        "[signature('datasets', name) for name in names('datasets')]\n"
        "sys.exit(','.join(sorted({'numpy', 'torch', 'pocketlens.datasets'} & set(sys.modules))) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
