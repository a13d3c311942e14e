"""The one exception that means "a person can mend this"; the command line prints it on one line and exits 2."""


class PocketlensError(Exception):
    """A mistake in what was asked or in a file that was given.

    The message says what must hold, what was given and what to do, on one line.
    """


def closest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """A hint for an unknown name: " Did you mean 'crop'?" or the list of what there is."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(sorted(known))}."
