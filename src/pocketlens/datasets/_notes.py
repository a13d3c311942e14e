"""What is said of the images of a source: what their headers show, and which cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pocketlens.data.images import MOST_PIXELS, BadImage, Header, Levels, TooLarge, depth_note
from pocketlens.errors import PocketlensError
from pocketlens.text import counted, listed


def header_notes(headers: Sequence[Header]) -> tuple[str, ...]:
    """Notes on images of several modes and depths, on animated ones, and on what is not read of them."""
    modes = Counter(header.mode for header in headers)
    n_deep = sum(header.deep for header in headers)
    is_mixed = 0 < n_deep < len(headers)
    only_depths = is_mixed and len(modes) == 2 and len({header.grey for header in headers}) == 1
    notes = []
    if len(modes) > 1 and not only_depths:
        notes.append(
            "images of several modes were converted to one: "
            + ", ".join(f"{n} {mode}" for mode, n in modes.most_common())
        )
    if n_animated := sum(header.animated for header in headers):
        notes.append(f"{counted(n_animated, 'image is', 'images are')} animated: their first frame is used")
    if is_mixed:
        notes.append(
            f"the depths are mixed: {counted(len(headers) - n_deep, 'image')} of 8 bits keep their values, "
            f"{n_deep} have more and "
            "are scaled to 8; unless both kinds are in every class, a model may tell classes apart by their depth"
        )
    if n_cut := sum(header.is_cut for header in headers):
        notes.append(
            f"{counted(n_cut, 'image has', 'images have')} colour of more than 8 bits, of which the upper 8 are read"
        )
    if n_partial := sum(header.is_partial for header in headers):
        notes.append(
            f"{counted(n_partial, 'image has', 'images have')} further channels beside grey or colour, "
            "which are not read"
        )
    return tuple(notes)


def depth_notes(headers: Sequence[Header], levels: Levels | None) -> tuple[str, ...]:
    """Notes on images of another depth than those that a model was trained on, whose levels are given."""
    found = Counter(note for header in headers if (note := depth_note(header, levels)) is not None)
    return tuple(f"{n} of {counted(len(headers), 'image')}: {note}" for note, n in found.items())


def bad_notes(text: str, names: Sequence[str], bad: Mapping[int, BadImage], skip: bool | None) -> tuple[str, ...]:
    """The note on images that cannot be read.

    Args:
        text: names the data set.
        names: of all its images.
        bad: the reasons, by row.
        skip: whether bad images are left out; None: this data set has no such option.

    Raises:
        PocketlensError: there are some, and they are not left out, or none would be left.
    """
    if not bad:
        return ()
    rows: dict[str, list[int]] = {}
    for row, reason in sorted(bad.items()):
        rows.setdefault(str(reason), []).append(row)
    named = "; ".join(
        f"{listed([names[row] for row in same])} ({'each: ' if len(same) > 1 else ''}{reason})"
        for reason, same in rows.items()
    )
    if skip and len(bad) < len(names):
        return (
            f"{counted(len(bad), 'image', 'images')} cannot be read and {'was' if len(bad) == 1 else 'were'} "
            f"skipped: {named}",
        )
    hint = "" if skip in (True, None) else "; repair or remove them"
    if skip is False and len(bad) < len(names):
        hint += f", or skip them with \"{text}(…, bad='skip')\""
    largest = max((reason.limit for reason in bad.values() if isinstance(reason, TooLarge)), default=0)
    if skip is not None and 0 < largest <= MOST_PIXELS:
        hint += f'; to read the large ones, give "{text}(…, max_pixels={largest})"'
    raise PocketlensError(f"{text}: {len(bad)} of {counted(len(names), 'image')} cannot be read: {named}{hint}.")
