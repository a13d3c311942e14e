"""How results show themselves: printed, and in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from html import escape


class Shown(ABC):
    """A result that prints as its lines, and shows the same in a notebook."""

    @abstractmethod
    def lines(self) -> list[str]:
        """What it says, a line each."""

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
