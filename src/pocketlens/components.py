"""Component texts such as `resnet(depth=18)` or `flip | crop(pad=2)`: parsed, checked, and turned into functions.

A room is a folder of this package (`models`, `augment`, ...). Its listing is the registry: the file `models/lens.py`
holds the function `lens`, which is the component `lens`. Texts hold literals only, which `literals.py` reads; checking
a text against a room reads the file's signature without importing it, so mistakes are found before torch is loaded.
"""

from __future__ import annotations

import ast
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pocketlens.errors import PocketlensError, closest
from pocketlens.literals import python_text, write_literal

ROOMS = ("datasets", "models", "augment", "optimizers", "schedules", "losses", "operations")


@dataclass(frozen=True)
class Component:
    """One component: its name and its options, in the order in which they were typed."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        inner = ", ".join(f"{key}={write_literal(value)}" for key, value in self.options)
        return f"{self.name}({inner})" if inner else self.name


@dataclass(frozen=True)
class Signature:
    """What a component's file says about itself, read without importing it."""

    inputs: tuple[str, ...]  # what the program gives it: the parameters before the options
    positional: tuple[str, ...]  # the parameters that a person may give without a name
    options: tuple[tuple[str, Any], ...]  # keyword-only parameters and their defaults
    kinds: tuple[str, ...]  # their types, such as "int | None", in the same order
    about: str  # the first line of the file's docstring


def parse_pipe(text: str, room: str) -> tuple[Component, ...]:
    """The components of `a | b(x=1)`, checked against `room`; `none` is the empty pipe.

    Raises:
        PocketlensError: the text is not a pipe of components, or a name or an option is unknown.
    """
    if text.strip() in ("", "none"):
        return ()
    return tuple(_component(node, text, room) for node in _pipe_nodes(_expression(text, room)))


def parse_one(text: str, room: str) -> Component:
    """The single component of `text`, checked against `room`."""
    return _component(_expression(text, room), text, room)


def resolve(component: Component, room: str) -> Callable[..., Any]:
    """The function behind a component (imports its file). Its options are in `component.options`."""
    module = importlib.import_module(f"pocketlens.{room}.{component.name}")
    function: Callable[..., Any] = getattr(module, component.name)
    return function


def option(component: Component, room: str, name: str) -> Any:
    """The value of an option: as typed, else its default; None where the component has no such option."""
    return {**dict(signature(room, component.name).options), **dict(component.options)}.get(name)


@cache
def names(room: str) -> tuple[str, ...]:
    """The components of a room, by name: the stems of its files."""
    folder = Path(__file__).parent / room
    return tuple(sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")))


@cache
def signature(room: str, name: str) -> Signature:
    """Reads the signature of a component from its file; nothing is imported."""
    tree = ast.parse((Path(__file__).parent / room / f"{name}.py").read_text(encoding="utf-8"))
    about = (ast.get_docstring(tree) or "").split("\n")[0]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            defaults = [ast.literal_eval(value) if value is not None else None for value in node.args.kw_defaults]
            options = tuple((arg.arg, default) for arg, default in zip(node.args.kwonlyargs, defaults, strict=True))
            inputs = tuple(arg.arg for arg in node.args.args)
            kinds = tuple(ast.unparse(arg.annotation) if arg.annotation else "" for arg in node.args.kwonlyargs)
            return Signature(inputs, tuple(key for key, _ in options), options, kinds, about)
    raise AssertionError(f"{room}/{name}.py must hold a function named {name}")


def _expression(text: str, room: str) -> ast.expr:
    try:
        return ast.parse(python_text(text.strip()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        example = names(room)[0]
        raise PocketlensError(
            f'{room}: {text!r} is not a component text; write it like {example!r} or "{example}(option=1)".'
        ) from None


def _pipe_nodes(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_pipe_nodes(node.left), node.right]
    return [node]


def _component(node: ast.expr, text: str, room: str) -> Component:
    call = node if isinstance(node, ast.Call) else None
    target = call.func if call is not None else node
    if not isinstance(target, ast.Name):
        raise PocketlensError(f"{room}: {text!r} must be a name or name(option=value); options are literals.")
    name = target.id
    if name not in names(room):
        raise PocketlensError(f"{room}: there is no {name!r}.{closest(name, names(room))}")
    if call is None:
        return Component(name)
    known = signature(room, name).positional
    if len(call.args) > len(known):
        raise PocketlensError(f"{room}: {name} takes at most {len(known)} options, got {len(call.args)} in {text!r}.")
    pairs = [*zip(known, call.args, strict=False)]
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg not in known:
            hint = closest(keyword.arg or "**", known) if known else " It takes none."
            raise PocketlensError(f"{room}: {name} has no option {keyword.arg!r}.{hint}")
        pairs.append((keyword.arg, keyword.value))
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise PocketlensError(f"{room}: an option of {name} is given twice in {text!r}.")
    options = tuple((key, _literal(value, text, room)) for key, value in pairs)
    kinds = dict(zip(known, signature(room, name).kinds, strict=True))
    for key, value in options:
        if not _fits(value, ast.parse(kinds[key] or "object", mode="eval").body):
            raise PocketlensError(f"{name}: {key} must be {_in_words(kinds[key])}, got {value!r}.")
    return Component(name, options)


def _literal(node: ast.expr, text: str, room: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise PocketlensError(
            f"{room}: options in {text!r} must be literals (numbers, 'text', True, False, None, tuples)."
        ) from None


def _fits(value: Any, kind: ast.expr) -> bool:
    """Whether a literal is of the type that an annotation names; of one that is not known here, everything is."""
    if isinstance(kind, ast.BinOp):
        return _fits(value, kind.left) or _fits(value, kind.right)
    if isinstance(kind, ast.Subscript):
        inner = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        if not isinstance(value, (tuple, list)):
            return False
        if isinstance(inner[-1], ast.Constant) and inner[-1].value is Ellipsis:
            return all(_fits(item, inner[0]) for item in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    known = {
        "int": is_number and isinstance(value, int),
        "float": is_number,
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
        "None": value is None,
    }
    return known.get(ast.unparse(kind), True)


def _in_words(kind: str) -> str:
    """`int | tuple[int, ...]` as "a whole number or (a whole number, ...)"."""
    words = {"int": "a whole number", "float": "a number", "bool": "True or False", "str": "a text in quotes"}
    for short, long in (*words.items(), ("tuple[", "("), ("]", ")"), (" | ", " or ")):
        kind = kind.replace(short, long)
    return kind
