"""Counts in sentences: `1 image`, `2 images`. A number before a plural noun goes through `text.counted`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from pocketlens.text import counted, plural

SOURCE = Path(__file__).parents[1] / "src" / "pocketlens"
NOUNS = (
    "image picture photo epoch class superclass row fold file name column value group trial repeat seed step minute "
    "folder table pair line label level view core thread process worker parameter training comparison recipe member "
    "node link run copy entry size option array duplicate draw channel hour day part strategy mistake node"
)
COUNTED = re.compile(rf" (?:[a-z-]+ )?(?:{'|'.join(plural(noun) for noun in NOUNS.split())})\b")
NO_COUNT = re.compile(r" (?:of|to|in|and|from|for|with|x|on|that|takes|at|by|as|is|the|has|than|up) ")
FORMATS = {None, ",", "d", "g", ".2g", ".3g"}
# what is not counted, or never 1, by the text of the value
ALLOWED = re.compile(
    r"[A-Z_0-9]+|.*\b(name|names|text|shown|outer|host|part|kind|shape|spread|said|numbers?|colour|second|what|how|"
    r"_images|PART_NAMES|model|id|each|short_name|called|where|both|listed|why|path|run|loss|dataset|count|url|"
    r"stem|_many|counts|n_test|here)\b.*|height|width|channels"
)


@pytest.mark.parametrize(
    ("n", "one", "many", "text"),
    [
        (1, "image", "", "1 image"),
        (0, "image", "", "0 images"),
        (2000, "test image", "", "2,000 test images"),
        (2, "class has", "classes have", "2 classes have"),
        (1, "class has", "classes have", "1 class has"),
        (0.5, "epoch", "", "0.5 epochs"),
        (1.0, "epoch", "", "1 epoch"),
        (3, "copy", "", "3 copies"),
        (3, "day", "", "3 days"),
    ],
)
def test_a_count_and_its_noun_agree(n: float, one: str, many: str, text: str) -> None:
    assert counted(n, one, many) == text


def unguarded(source: str) -> list[str]:
    """The values in f-strings that stand right before a plural noun."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if not isinstance(value, ast.FormattedValue) or not isinstance(text, ast.Constant):
                continue
            after, spec = str(text.value), value.format_spec
            form = None if spec is None else ast.unparse(spec)[2:-1]
            if not COUNTED.match(after) or NO_COUNT.match(after) or form not in FORMATS:
                continue
            shown = ast.unparse(value.value)
            if "counted(" not in shown and not ALLOWED.fullmatch(shown):
                found.append(f"line {node.lineno}: {{{shown}}}{after[:40]}")
    return found


def test_counts_go_through_counted() -> None:
    found = {path: unguarded(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}
    assert {str(path.relative_to(SOURCE)): lines for path, lines in found.items() if lines} == {}


def test_the_check_finds_what_it_should() -> None:
    assert unguarded('f"{len(rows)} images are lost"')
    assert unguarded('f"{n:,} test images"')
    assert not unguarded("f\"{counted(n, 'image')} of {name} files\"")
