"""Component texts such as `resnet(depth=18)` or `flip | crop(pad=2)`: parsed, checked, and turned into functions.

A room is a folder of this package (`models`, `augment`, ...). Its listing is the registry: the file `models/lens.py`
holds the function `lens`, which is the component `lens`. Texts hold literals only, which `literals.py` reads; checking
a text against a room reads the file's signature without importing it, so mistakes are found before torch is loaded.
A component of one's own is `FILE.py:function(option=…)`; it works like those of the room, see own_code.py.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pocketlens import own_code
from pocketlens.errors import PocketlensError, closest
from pocketlens.literals import IN_PYTHON, Reference, key_of, python_text, references, show_reference, write_literal
from pocketlens.own_code import CodeFile
from pocketlens.text import counted, printable

ROOMS = ("datasets", "models", "augment", "optimizers", "schedules", "losses", "operations")
CONTRACTS: dict[str, tuple[tuple[str, ...], ...]] = {  # what a component is given, told apart by how many
    "datasets": (("folders",),),
    "models": (("shape", "n_classes"),),
    "augment": (("images", "targets", "draws"),),
    "optimizers": (("groups", "lr"), ("classifier",)),
    "schedules": (("step", "n_steps", "steps_per_epoch"), ("history",)),
    "losses": (("logits", "targets"),),
    "operations": (("images",),),
}
_PLACEHOLDER = "own_component_"  # stands for FILE.py:function while Python reads a text


@dataclass(frozen=True)
class Component:
    """One component: its name and its options, in the order in which they were typed."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    file: str = ""  # of a component of one's own

    def __str__(self) -> str:
        inner = ", ".join(f"{key}={write_literal(value)}" for key, value in self.options)
        name = show_reference(self.file, self.name) if self.file else self.name
        return f"{name}({inner})" if inner else name


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

    The options of a component of one's own are checked where its file was named; where it was not, it cannot run.

    Raises:
        PocketlensError: the text is not a pipe of components, or a name or an option is unknown.
    """
    if text.strip() in ("", "none"):
        return ()
    expression = _expression(text, room)
    return tuple(_component(node, expression, room) for node in _pipe_nodes(expression.node))


def parse_one(text: str, room: str) -> Component:
    """The single component of `text`, checked against `room`."""
    expression = _expression(text, room)
    return _component(expression.node, expression, room)


def resolve(component: Component, room: str) -> Callable[..., Any]:
    """The function behind a component (imports its file). Its options are in `component.options`.

    Raises:
        PocketlensError: it is one of one's own, and its file was not named, raises, or has no such function.
    """
    if component.file:
        return own_code.load(component.file, component.name)
    module = importlib.import_module(f"pocketlens.{room}.{component.name}")
    function: Callable[..., Any] = getattr(module, component.name)
    return function


def option(component: Component, room: str, name: str) -> Any:
    """The value of an option: as typed, else its default; None where the component has no such option."""
    known = signature_of(component, room)
    return {**dict(() if known is None else known.options), **dict(component.options)}.get(name)


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
            return _signature(node.args, about)
    raise AssertionError(f"{room}/{name}.py must hold a function named {name}")


def signature_of(component: Component, room: str) -> Signature | None:
    """The signature of a component; None where it is one of one's own whose file was not named.

    Raises:
        PocketlensError: it is one of one's own, and there is no such function, or it does not take what it is given.
    """
    if not component.file:
        return signature(room, component.name)
    code = own_code.find(key_of(component.file, component.name))
    return None if code is None else _own_signature(code, component.name, room)


@cache
def _own_signature(code: CodeFile, name: str, room: str) -> Signature:
    given = own_code.given_function(IN_PYTHON, name) if code.key == f"{IN_PYTHON}:{name}" else None
    shown = printable(name if given is not None else show_reference(code.key, name))
    try:
        found = _own_arguments(code, name) if given is None else _given_signature(given)
    except ValueError:
        raise PocketlensError(f"{shown}: the defaults of its options must be literals, such as 3 or 'text'.") from None
    for wanted in CONTRACTS[room]:
        if len(wanted) == len(found.inputs):
            return replace(found, inputs=wanted)
    kinds = " or ".join(f"({', '.join(wanted)}, *, options)" for wanted in CONTRACTS[room])
    raise PocketlensError(f"{room}: {shown} must take {kinds}, it takes ({', '.join(found.inputs)}).")


def _own_arguments(code: CodeFile, name: str) -> Signature:
    node = own_code.definition(code, name)
    about = (ast.get_docstring(node) or "").split("\n")[0]
    if isinstance(node, ast.FunctionDef):
        return _signature(node.args, about)
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            found = _signature(method.args, about)
            return replace(found, inputs=found.inputs[1:])  # without self
    return Signature((), (), (), (), about)


def _signature(arguments: ast.arguments, about: str) -> Signature:
    """Parameters with a default are options, wherever they stand; those without one before the `*` are inputs.

    Raises:
        ValueError: a default is no literal.
    """
    positional = [*arguments.posonlyargs, *arguments.args]
    n_inputs = len(positional) - len(arguments.defaults)
    optional = [*positional[n_inputs:], *arguments.kwonlyargs]
    defaults = [ast.literal_eval(value) if value is not None else None
                for value in (*arguments.defaults, *arguments.kw_defaults)]  # fmt: skip
    return Signature(
        tuple(each.arg for each in positional[:n_inputs]),
        tuple(each.arg for each in optional),
        tuple((each.arg, default) for each, default in zip(optional, defaults, strict=True)),
        tuple(ast.unparse(each.annotation) if each.annotation else "" for each in optional),
        about,
    )


def _given_signature(function: Callable[..., Any]) -> Signature:
    """That of a function that lives in no file."""
    parameters = inspect.signature(function).parameters.values()
    named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    options = [each for each in named if each.kind is each.KEYWORD_ONLY or each.default is not each.empty]
    return Signature(
        tuple(each.name for each in named if each not in options),
        tuple(each.name for each in options),
        tuple((each.name, None if each.default is each.empty else each.default) for each in options),
        tuple("" for _ in options),
        (inspect.getdoc(function) or "").split("\n")[0],
    )


@dataclass(frozen=True)
class _Expression:
    """A text as Python reads it, with placeholders for components of one's own."""

    text: str
    node: ast.expr
    own: tuple[Reference, ...]


def _expression(text: str, room: str) -> _Expression:
    own = tuple(references(text))
    parts, last = [], 0
    for index, each in enumerate(own):
        parts += [text[last : each.start], f"{_PLACEHOLDER}{index}"]
        last = each.end
    try:
        readable = python_text("".join([*parts, text[last:]]).strip())
        return _Expression(text, ast.parse(readable, mode="eval").body, own)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        example = names(room)[0]
        raise PocketlensError(
            f'{room}: {text!r} is not a component text; write it like {example!r} or "{example}(option=1)".'
        ) from None


def _pipe_nodes(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_pipe_nodes(node.left), node.right]
    return [node]


def _component(node: ast.expr, expression: _Expression, room: str) -> Component:
    text = expression.text
    call = node if isinstance(node, ast.Call) else None
    target = call.func if call is not None else node
    if not isinstance(target, ast.Name):
        raise PocketlensError(f"{room}: {text!r} must be a name or name(option=value); options are literals.")
    component = _named(target.id, expression, room)
    known = signature_of(component, room)
    if call is None:
        return component
    if known is None:  # checked when its file is named
        options = tuple((each.arg, _literal(each.value, text, room)) for each in call.keywords if each.arg is not None)
        return replace(component, options=options)
    options = _options(call, known, component.name, (text, room))
    kinds = dict(zip(known.positional, known.kinds, strict=True))
    for key, value in options:
        if not _fits(value, ast.parse(kinds[key] or "object", mode="eval").body):
            raise PocketlensError(f"{component.name}: {key} must be {_in_words(kinds[key])}, got {value!r}.")
    return replace(component, options=options)


def _named(name: str, expression: _Expression, room: str) -> Component:
    index = name.removeprefix(_PLACEHOLDER)
    if name != index and index.isdigit() and int(index) < len(expression.own):
        own = expression.own[int(index)]
        return Component(own.name, file=own.file)
    if name not in names(room):
        raise PocketlensError(f"{room}: there is no {name!r}.{closest(name, names(room))}")
    return Component(name)


def _options(call: ast.Call, known: Signature, name: str, where: tuple[str, str]) -> tuple[tuple[str, Any], ...]:
    """The options of a call by their names; `where` is the text and its room."""
    text, room = where
    if len(call.args) > len(known.positional):
        raise PocketlensError(
            f"{room}: {name} takes at most {counted(len(known.positional), 'option')}, got {len(call.args)} "
            f"in {text!r}."
        )
    pairs = [*zip(known.positional, call.args, strict=False)]
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg not in known.positional:
            hint = closest(keyword.arg or "**", known.positional) if known.positional else " It takes none."
            raise PocketlensError(f"{room}: {name} has no option {keyword.arg!r}.{hint}")
        pairs.append((keyword.arg, keyword.value))
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise PocketlensError(f"{room}: an option of {name} is given twice in {text!r}.")
    return tuple((key, _literal(value, text, room)) for key, value in pairs)


def _literal(node: ast.expr, text: str, room: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        is_call = any(isinstance(each, ast.Call) for each in ast.walk(node))
        source = "" if is_call else ast.unparse(node).replace(" / ", "/").replace(" - ", "-")
        hint = f" A text needs quotes: {source!r}." if source else ""
        raise PocketlensError(
            f"{room}: options in {text!r} must be literals (numbers, 'text', True, False, None, tuples).{hint}"
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
