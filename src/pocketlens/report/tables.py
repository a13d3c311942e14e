"""Tables to be taken away: Markdown and LaTeX, in which no name can do more than be read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pocketlens.text import printable

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "●": r"$\bullet$",
}
_NUMBER = re.compile(r"-?[\d,.]+( %)?|n/a|")


def to_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers stand to the right."""
    right = _numbers(rows, len(header))
    lines = [header, ["---:" if column else ":---" for column in right], *rows]
    cells = [[cell if place == 1 else _markdown(cell) for cell in line] for place, line in enumerate(lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def to_latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A LaTeX `tabular` for \usepackage{booktabs}; columns of numbers stand to the right."""
    columns = "".join("r" if column else "l" for column in _numbers(rows, len(header)))
    lines = [" & ".join(_latex(cell) for cell in line) + r" \\" for line in (header, *rows)]
    body = "\n".join(lines[1:])
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{lines[0]}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
    )


def _numbers(rows: Sequence[Sequence[str]], n: int) -> list[bool]:
    return [bool(rows) and all(_NUMBER.fullmatch(row[column]) for row in rows) for column in range(n)]


def _markdown(cell: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]|#~!])", r"\\\1", printable(cell))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _latex(cell: str) -> str:
    return "".join(_LATEX.get(character, character) for character in printable(cell))
