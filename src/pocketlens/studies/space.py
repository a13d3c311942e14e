"""A search space: `lr=log(0.01,1); optimizer.momentum=range(0.8,0.99); model.dense=choice(1,2,3)`.

`log(low, high)` and `range(low, high)` are numbers on a logarithmic and a linear scale, `int(low, high)` and
`logint(low, high)` whole numbers with both ends included, `choice(...)` one of several values. Every domain maps to
and from the unit interval 0..1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pocketlens.errors import PocketlensError
from pocketlens.recipe import Recipe
from pocketlens.studies.overrides import apply, read_value, split_assignment, split_text, value_at

KINDS = ("range", "log", "int", "logint", "choice")
WIDENED = 0.1  # of the span of the best values, added on each side when a range is narrowed to them


@dataclass(frozen=True)
class Domain:
    """The values that an address may have."""

    address: str
    kind: str  # one of KINDS
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    def from_unit(self, unit: float) -> Any:
        """The value at a position in 0..1 of the scale; a uniform unit gives a uniform value on the scale."""
        if self.kind == "choice":
            return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]
        if self.kind in ("int", "logint"):
            low, high = self._scale(self.low - 0.5 if self.kind == "int" else self.low), self._scale(self.high + 0.5)
            return int(min(max(round(self._unscale(low + unit * (high - low))), self.low), self.high))
        low, high = self._scale(self.low), self._scale(self.high)
        return min(max(float(f"{self._unscale(low + unit * (high - low)):.6g}"), self.low), self.high)

    def to_unit(self, value: Any) -> float:
        """The position of a value on the scale, 0..1; choices are equally spaced."""
        if self.kind == "choice":
            index = self.choices.index(value) if value in self.choices else 0
            return index / max(1, len(self.choices) - 1)
        low, high = self._scale(self.low), self._scale(self.high)
        return min(1.0, max(0.0, (self._scale(value) - low) / (high - low))) if high > low else 0.5

    def contains(self, value: Any) -> bool:
        """Whether the value lies in this domain."""
        if self.kind == "choice":
            return value in self.choices
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def narrowed_to(self, values: Sequence[Any]) -> Domain:
        """This domain narrowed to the range of some values, a little widened."""
        if self.kind == "choice":
            return Domain(
                self.address, self.kind, choices=tuple(c for c in self.choices if c in values) or self.choices
            )
        units = [self.to_unit(value) for value in values]
        margin = WIDENED * (max(units) - min(units)) or 0.02
        low, high = max(0.0, min(units) - margin), min(1.0, max(units) + margin)
        start, end = self._scale(self.low), self._scale(self.high)
        ends = [self._unscale(start + unit * (end - start)) for unit in (low, high)]
        if self.kind in ("int", "logint"):
            ends = [max(self.low, math.floor(ends[0])), min(self.high, math.ceil(ends[1]))]
        return Domain(self.address, self.kind, float(f"{ends[0]:.6g}"), float(f"{ends[1]:.6g}"))

    def __str__(self) -> str:
        values = ", ".join(str(c) for c in self.choices) if self.kind == "choice" else f"{self.low:g}, {self.high:g}"
        return f"{self.address}={self.kind}({values})"

    @property
    def is_log(self) -> bool:
        """Whether the scale is logarithmic."""
        return self.kind in ("log", "logint")

    def _scale(self, value: float) -> float:
        return math.log(value) if self.is_log else float(value)

    def _unscale(self, scaled: float) -> float:
        return math.exp(scaled) if self.is_log else scaled


def read_space(text: str, base: Recipe) -> tuple[Domain, ...]:
    """The domains in a text, checked against the recipe that takes their values.

    Raises:
        PocketlensError: an address or a domain is invalid, or the recipe refuses its values.
    """
    domains: dict[str, Domain] = {}
    for part in split_text(text, ";"):
        address, value = split_assignment(part)
        if address in domains:
            raise PocketlensError(f"{address} is given twice in {text!r}.")
        domains[address] = _read_domain(address, value)
    for domain in domains.values():
        for value in domain.choices if domain.kind == "choice" else (domain.from_unit(0.0), domain.from_unit(1.0)):
            apply(base, {domain.address: value})
    return tuple(domains.values())


def models_in(space: Sequence[Domain], base: Recipe) -> list[Recipe]:
    """The base recipe with every model that the space names as a choice, or the base where it names none."""
    recipes = [base]
    for domain in space:
        if domain.kind == "choice" and domain.address.split(".")[0] == "model":
            recipes = [apply(recipe, {domain.address: value}) for recipe in recipes for value in domain.choices]
    return recipes


def start_values(space: Sequence[Domain], base: Recipe) -> dict[str, Any] | None:
    """The base recipe's own values, or None where one of them lies outside the space."""
    values = {domain.address: value_at(base, domain.address) for domain in space}
    return values if all(domain.contains(values[domain.address]) for domain in space) else None


def _read_domain(address: str, text: str) -> Domain:
    called = re.fullmatch(r"([a-z]+)\s*\((.*)\)", text, re.DOTALL)
    if called is None or called[1] not in KINDS:
        example = f"{address}=log(0.01,1), range(0.8,0.99), int(1,4), logint(16,256) or choice(1,2,3)"
        raise PocketlensError(f"{address}: {text!r} must be a domain, like {example}.")
    kind = called[1]
    values = [read_value(address, part) for part in split_text(called[2], ",")]
    if kind == "choice":
        distinct = tuple(dict.fromkeys(values))
        if len(distinct) < 2:
            raise PocketlensError(f"{address}: choice needs at least two values, got {text!r}.")
        return Domain(address, kind, choices=distinct)
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(values) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise PocketlensError(f"{address}: {kind} takes two numbers, the lower first, got {text!r}.")
    if kind in ("log", "logint") and numbers[0] <= 0:
        raise PocketlensError(f"{address}: {kind} needs numbers above 0, got {text!r}.")
    if kind in ("int", "logint") and not all(float(value).is_integer() for value in numbers):
        raise PocketlensError(f"{address}: {kind} takes whole numbers, got {text!r}.")
    return Domain(address, kind, float(numbers[0]), float(numbers[1]))
