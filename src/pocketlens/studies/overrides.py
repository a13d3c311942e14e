"""A recipe with some values changed, as text: `lr=0.1; optimizer.momentum=0.9; augment=flip | crop(pad=2)`.

An address is a field of the recipe (`lr`), an option of the component in a field (`model.depth`), or, where a field
holds several components, the option of one of them by its name (`augment.crop.pad`). `recipe=small` is a whole recipe.
`relabel=labels.csv` stands beside the recipe: corrected labels to train on, which are no part of it.
Texts are split at `;`, `=` and `,` outside of quotes and brackets, so that values may hold all of these.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from pocketlens.components import ROOMS, Component, parse_pipe, signature_of
from pocketlens.errors import PocketlensError, closest
from pocketlens.literals import Unclosed, outside, read_literal
from pocketlens.own_code import not_named
from pocketlens.recipe import Recipe, named_recipes, read_recipe

ROOM_OF = {
    "model": "models",
    "prepare": "operations",
    "augment": "augment",
    "loss": "losses",
    "optimizer": "optimizers",
    "schedule": "schedules",
}
assert set(ROOM_OF.values()) <= set(ROOMS)
RELABEL = "relabel"
Changes = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A recipe with a name within a study.

    Attributes:
        changes: what differs from the base, by address.
        relabel: the file of corrected labels to train on, in a study the hash of its copy; empty for the given labels.
    """

    name: str
    recipe: Recipe
    changes: tuple[tuple[str, Any], ...] = ()
    relabel: str = ""


def read_variant(text: str, base: Recipe) -> Variant:
    """The variant that `small`, `my.json`, `lr=0.1; augment=none`, `small; lr=0.1` or `base` means.

    Raises:
        PocketlensError: a recipe, an address or a value is invalid.
    """
    first, *rest = split_text(text, ";")
    recipe, named = base, "=" not in _outside(first)
    if named and first != "base":
        recipe = read_recipe(first)
    changes: Changes = {}
    relabel = ""
    for part in rest if named else [first, *rest]:
        address, value = split_assignment(part)
        if address in changes or (address == RELABEL and relabel):
            raise PocketlensError(f"{address} is changed twice in {text!r}.")
        if address == RELABEL:
            relabel = _unquoted(value)
        else:
            changes[address] = read_value(address, value)
    return Variant(" ".join(text.split()), apply(recipe, changes), tuple(changes.items()), relabel)


def named_in_precision(variant: Variant, precision: str) -> Variant:
    """A variant that is a recipe with a name, in a precision that it does not name itself; any other as it is."""
    changes = dict(variant.changes)
    name = changes.get("recipe", split_text(variant.name, ";")[0].strip())
    if name not in named_recipes() or "precision" in changes or variant.recipe.precision != "fp32":
        return variant
    return dataclasses.replace(variant, recipe=variant.recipe.changed(precision=precision))


def read_lists(text: str) -> dict[str, list[Any]]:
    """The values to try by address: `lr=0.1,0.2; optimizer=sgd,adam`.

    Raises:
        PocketlensError: the text is malformed, or an address is given twice.
    """
    lists: dict[str, list[Any]] = {}
    for part in split_text(text, ";"):
        address, values = split_assignment(part)
        if address in lists:
            raise PocketlensError(f"{address} is given twice in {text!r}; put all its values in one list.")
        lists[address] = [read_value(address, value) for value in split_text(values, ",")]
    return lists


def pointwise(base: Recipe, lists: dict[str, list[Any]]) -> list[Variant]:
    """The base, and the base with one value changed, for each value that it does not have already."""
    variants = [Variant("base", base)]
    for address, values in lists.items():
        variants += [_variant(base, {address: value}) for value in values]
    return _distinct(variants)


def grid(base: Recipe, lists: dict[str, list[Any]]) -> list[Variant]:
    """The base, and every combination of the values."""
    combinations = product(*lists.values())
    return _distinct(
        [
            Variant("base", base),
            *(_variant(base, dict(zip(lists, values, strict=True))) for values in combinations),
        ]
    )


def apply(recipe: Recipe, changes: Changes) -> Recipe:
    """The recipe with changes: a whole recipe is applied first, then whole fields, then options.

    Raises:
        PocketlensError: the recipe has no such address, or refuses a value.
    """
    for address, value in sorted(changes.items(), key=lambda item: (item[0] != "recipe", item[0].count("."))):
        if address == "recipe":
            recipe = read_recipe(str(value))
            continue
        field, _, option = address.partition(".")
        text = _with_option(getattr(recipe, field), field, option, value) if option else value
        recipe = recipe.changed(**{field: text})
    return recipe


def value_at(recipe: Recipe, address: str) -> Any:
    """The value at an address; an option that is not written out has its component's default."""
    field, _, option = address.partition(".")
    if not option:
        return getattr(recipe, field)
    parts = _components(getattr(recipe, field), field)
    owner, key = parts[_owner(parts, field, option)], _key(option)
    return dict(owner.options).get(key, _defaults(owner, field)[key])


def read_value(address: str, text: str) -> Any:
    """A value of the type that an address takes: a number, a component's text, or an option's literal.

    Raises:
        PocketlensError: there is no such address, or the value has another type.
    """
    field, _, option = address.partition(".")
    known = {item.name: str(item.type) for item in dataclasses.fields(Recipe)}
    if address == "recipe":
        return _unquoted(text)
    if field not in known:
        raise PocketlensError(f"a recipe has no field {field!r}.{closest(field, [*known])}")
    if option:
        if field not in ROOM_OF:
            raise PocketlensError(f"{address}: the field {field} has no options; write {field}=VALUE.")
        return _literal(text)
    kind = known[field]
    if "str" in kind:
        return None if "None" in kind and text == "none" else _unquoted(text)
    value = _literal(text)
    if value in (None, "none") and "None" in kind:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or ("float" not in kind and value != int(value)):
        raise PocketlensError(f"{field} must be {'a number' if 'float' in kind else 'a whole number'}, got {text!r}.")
    return float(value) if "float" in kind else int(value)


def show_value(value: Any) -> str:
    """A value as a person would type it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def show_values(values: Mapping[str, Any]) -> str:
    """Values with their addresses, such as `lr=0.1, batch_size=64`."""
    return ", ".join(f"{address}={show_value(value)}" for address, value in values.items())


def split_assignment(text: str) -> tuple[str, str]:
    """`(address, value)` of `address=value`."""
    address, *rest = split_text(text, "=", most=1)
    if not rest or not re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+){0,2}", address) or not rest[0]:
        raise PocketlensError(f"{text!r} must be like lr=0.1 or optimizer.momentum=0.9.")
    return address, rest[0]


def split_text(text: str, separator: str, most: int = -1) -> list[str]:
    """The stripped parts of a text between separators outside of quotes and brackets.

    Raises:
        PocketlensError: a bracket or a quote is not closed, or a part is empty.
    """
    parts: list[str] = []
    start = 0
    for place, character in enumerate(_outside(text)):
        if character == separator and most != len(parts):
            parts.append(text[start:place].strip())
            start = place + 1
    last = text[start:].strip()
    if last or separator != ";" or not parts:  # a trailing `;` is allowed
        parts.append(last)
    if not all(parts):
        raise PocketlensError(f"{text!r} has an empty part; both sides of {separator!r} must have a value.")
    return parts


def _outside(text: str) -> str:
    try:
        return outside(text)
    except Unclosed as error:
        wrong = repr(error.character)
        if error.is_open:
            raise PocketlensError(f"{text!r} must end with {wrong}: a bracket or a quote is not closed.") from None
        raise PocketlensError(f"{text!r}: {wrong} closes a bracket that was not opened.") from None


def _literal(text: str) -> Any:
    try:
        return read_literal(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text  # a word without quotes


def _unquoted(text: str) -> str:
    value = _literal(text) if text[0] in "'\"" else text
    return value if isinstance(value, str) else text


def _components(text: str, field: str) -> list[Component]:
    return list(parse_pipe(text, ROOM_OF[field]))


def _key(option: str) -> str:
    """The own name of an option that may be written with that of its component, `sam.rho`."""
    return option.rpartition(".")[2]


def _owner(parts: Sequence[Component], field: str, option: str) -> int:
    """Which of the components has the option."""
    name, _, key = option.rpartition(".")
    owners = [index for index, part in enumerate(parts) if name in ("", part.name) and key in _defaults(part, field)]
    if len(owners) == 1:
        return owners[0]
    there = " | ".join(str(part) for part in parts) or "none"
    if owners:
        raise PocketlensError(f"{field}.{option}: several of {there} have it; write {field}.{parts[owners[0]].name}.…")
    options = [key for part in parts for key in _defaults(part, field)]
    hint = closest(key, options) if options else ""
    raise PocketlensError(f"{field}.{option}: {there} has no such option.{hint}")


def _defaults(part: Component, field: str) -> Mapping[str, Any]:
    known = signature_of(part, ROOM_OF[field])
    if known is None:
        raise PocketlensError(not_named(part.file, part.name))
    return dict(known.options)


def _with_option(text: str, field: str, option: str, value: Any) -> str:
    parts = _components(text, field)
    index = _owner(parts, field, option)
    options = dict(parts[index].options) | {_key(option): value}
    parts[index] = dataclasses.replace(parts[index], options=tuple(options.items()))
    return " | ".join(str(part) for part in parts)


def _variant(base: Recipe, changes: Changes) -> Variant:
    name = "; ".join(f"{address}={show_value(value)}" for address, value in changes.items())
    return Variant(name, apply(base, changes), tuple(changes.items()))


def _distinct(variants: list[Variant]) -> list[Variant]:
    """The variants without duplicate recipes: a value that is tried may be the base's own."""
    kept: dict[str, Variant] = {}
    for variant in variants:
        kept.setdefault(str(sorted(variant.recipe.to_dict().items(), key=str)), variant)
    return list(kept.values())
