"""The one exception that means "a person can mend this", and checks of options that raise it.

The command line prints it on one line and exits 2.
"""


class PocketlensError(Exception):
    """A mistake in what was asked or in a file that was given.

    The message says what must hold, what was given and what to do, on one line.
    """


class NotEnoughMemory(MemoryError):
    """The memory is not enough for something; the message says on one line what that is, and what helps."""


class ExportFailed(Exception):
    """The exported model does not agree with the model, or could not be made; nothing was written."""


MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "memoryerror", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, numpy or torch says that there is not enough memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in MEMORY_WORDS)


def closest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """A hint for an unknown name: " Did you mean 'crop'?" or the list of what there is."""
    near = nearest(name, known)
    return f" There are: {', '.join(sorted(known))}." if near is None else f" Did you mean {near!r}?"


def nearest(name: str, known: "list[str] | tuple[str, ...]", cutoff: float = 0.5) -> str | None:
    """The known name that somebody who typed `name` is likely to have meant, whatever its case; None where none is."""
    import difflib

    of = {each.casefold(): each for each in reversed(known)}
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    folded = difflib.get_close_matches(name.casefold(), list(of), n=1, cutoff=cutoff)
    return near[0] if near else of[folded[0]] if folded else None


def check_range(component: str, option: str, value: object, low: float, high: float) -> None:
    """An option must be a number in low..high, both included.

    Raises:
        PocketlensError: it is not.
    """
    if not is_number(value) or not low <= value <= high:  # type: ignore[operator]
        raise PocketlensError(f"{component}: {option} must be a number in {low:g}..{high:g}, got {value!r}.")


def check_whole(component: str, option: str, value: object, low: int, high: int) -> None:
    """An option must be a whole number in low..high, both included.

    Raises:
        PocketlensError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise PocketlensError(f"{component}: {option} must be a whole number in {low}..{high}, got {value!r}.")


def check_below_1(component: str, **options: object) -> None:
    """Options, by name, that must be numbers from 0 to below 1, such as a momentum.

    Raises:
        PocketlensError: one is not.
    """
    for option, value in options.items():
        if not is_number(value) or not 0 <= value < 1:  # type: ignore[operator]
            raise PocketlensError(f"{component}: {option} must be a number, at least 0 and below 1, got {value!r}.")


def check_above_0(component: str, **options: object) -> None:
    """Options, by name, that must be numbers above 0.

    Raises:
        PocketlensError: one is not.
    """
    for option, value in options.items():
        if not is_number(value) or not 0 < value < float("inf"):  # type: ignore[operator]
            raise PocketlensError(f"{component}: {option} must be a number above 0, got {value!r}.")


def is_number(value: object) -> bool:
    """Whether a value is an int or a float; True and False are not numbers."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
