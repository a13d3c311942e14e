"""Seconds as a person reads them: in a sentence, and in the column of a table."""

from __future__ import annotations


def say_duration(seconds: float) -> str:
    """In a sentence: `4.2 s`, `42 s`, `49 min 12 s` or `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{max(0.0, seconds):.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def clock(seconds: float | None) -> str:
    """In a table: `4.2s`, `3:05`, `1:02:03`, and `-` where there is none."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
