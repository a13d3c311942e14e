"""The keys of a JSON object that a person may have edited: each is checked when it is read.

Every method raises a PocketlensError that names the file where a key is missing or of another type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from pocketlens.errors import PocketlensError, is_number


@dataclass(frozen=True)
class JsonKeys:
    """The keys of a JSON object, each checked when it is read; `source` names the object in errors."""

    values: dict[str, Any]
    source: str

    def of(self, value: Any, name: str) -> JsonKeys:
        """The keys of an object within this one."""
        if not isinstance(value, dict):
            raise PocketlensError(f"{self.source}: {name} must be a JSON object, got {value!r}.")
        return JsonKeys(value, f"{self.source}: {name}")

    def value(self, key: str) -> Any:
        """The value of a key that must be there."""
        if key not in self.values:
            raise PocketlensError(f"{self.source}: the key {key!r} is missing.")
        return self.values[key]

    def is_null(self, key: str) -> bool:
        """Whether a key that must be there is null."""
        return self.value(key) is None

    def text(self, key: str) -> str:
        """A text."""
        value = self.value(key)
        return value if isinstance(value, str) else self._refuse(key, "a text", value)

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self.value(key)
        return int(value) if type(value) is int else self._refuse(key, "a whole number", value)

    def number(self, key: str) -> float:
        """A number."""
        value = self.value(key)
        return float(value) if is_number(value) else self._refuse(key, "a number", value)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of numbers."""
        values = self.items(key)
        return tuple(map(float, values)) if all(map(is_number, values)) else self._refuse(key, "numbers", values)

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """One of some texts."""
        value = self.text(key)
        return value if value in choices else self._refuse(key, f"one of {', '.join(choices)}", value)

    def items(self, key: str) -> list[Any]:
        """A list."""
        value = self.value(key)
        return value if isinstance(value, list) else self._refuse(key, "a list", value)

    def table(self, key: str) -> dict[str, Any]:
        """A JSON object."""
        value = self.value(key)
        return value if isinstance(value, dict) else self._refuse(key, "a JSON object", value)

    def _refuse(self, key: str, what: str, value: Any) -> NoReturn:
        raise PocketlensError(f"{self.source}: {key} must be {what}, got {value!r}.")
