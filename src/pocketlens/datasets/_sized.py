"""The size and the fit of a data set of pictures: written into its text, and said in one line each."""

from __future__ import annotations

from dataclasses import replace

from pocketlens.components import Component, option
from pocketlens.data.dataset import Dataset
from pocketlens.data.fit import FITS
from pocketlens.data.sizes import CUT


def with_size(chosen: Component, development: Dataset) -> Component:
    """The component with the size that its pictures were brought to, as if it had been typed."""
    if not development.is_resized or dict(chosen.options).get("size") is not None:
        return chosen
    options = tuple(pair for pair in chosen.options if pair[0] != "size")
    return replace(chosen, options=(*options, ("size", development.shape[0])))


def fit_of(chosen: Component) -> str:
    """How pictures are fitted, now and in prediction."""
    fit = None if chosen.file else option(chosen, "datasets", "fit")
    return fit if fit in FITS else FITS[0]


def size_notes(typed: Component, sized: Component, development: Dataset) -> tuple[str, ...]:
    """What was done to the pictures' sizes and what else could be, in one line each; none where they kept theirs."""
    sizes = development.sizes
    height, width, _ = development.shape
    if sizes is None or not development.is_resized:
        return ()
    fit, notes = fit_of(typed), []
    if sized != typed:
        have = f"are {sizes}" if sizes.n_sizes == 1 else f"have {sizes}"
        notes.append(
            f"the pictures {have} (width x height); they are resized to {height} x {width} px, a size chosen for them "
            "and the model (size= sets another)"
        )
    if fit == "crop" and sizes.cut > CUT and "fit" not in dict(typed.options):
        stretch, pad = (replace(typed, options=(*typed.options, ("fit", other))) for other in ("stretch", "pad"))
        notes.append(
            f"only middle squares are used (fit='crop'), without {100 * sizes.cut:.0f} % of a typical picture; to "
            f'use all of it, type "{stretch}", which stretches it, or "{pad}", which adds grey edges'
        )
    return tuple(notes)
