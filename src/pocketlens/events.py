"""Events: what long work yields while it runs. A consumer tells them apart with `match`; none of them needs torch.

Long work is a generator that yields events and returns its result:

    def find(rows) -> Work[Found]:
        for index, row in enumerate(rows):
            ...
            yield Step("comparing images", index + 1, len(rows))
        return Found(...)

`display/progress.py` shows any such work; `finish(find(rows))` runs it without showing anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, SupportsFloat, TypeVar

_LOOK_EVERY, _SHORT = 0.2, 1.0  # seconds: how often a tally is looked at, and how long a function runs unseen
_COUNTED = 256  # items after which a tally is told how many are done
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Step:
    """`done` of `total` pieces of the work that `what` names are done; a total of 0 means that it is not known yet."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Progress:
    """One step is done."""

    step: int  # how many steps are done
    n_steps: int
    epoch: float  # how many passes over the training rows are done
    lr: float
    size: int  # px, the shorter side
    n_images: int  # in this step's batch
    loss_tensor: SupportsFloat

    @property
    def loss(self) -> float:
        """The batch's mean loss; reading it waits for the device."""
        return float(self.loss_tensor)


@dataclass(frozen=True)
class Epoch:
    """A pass over the training rows is done and measured on the validation rows."""

    number: int  # from 1
    n_epochs: int
    record: dict[str, Any]  # epoch, step, lr, size, train_loss, train_accuracy, val_loss, val_accuracy, best
    bad_epochs: int  # how many epochs were not better on validation
    patience: int | None


@dataclass(frozen=True)
class Doing:
    """What is done from here until the next event, which may take seconds."""

    text: str


@dataclass(frozen=True)
class Note:
    """Something that a person should know."""

    text: str


@dataclass(frozen=True)
class Stage:
    """Something that was decided or done: its name, lines for a person, facts for a program."""

    name: str
    lines: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fact:
    """A fact with its name, such as `data` or `recipe`; one without a name belongs to the fact before it."""

    name: str
    text: str


@dataclass(frozen=True)
class RunStarted:
    """A run is trained from here on; a Stop saves it."""

    id: str
    folder: str
    where: str  # the device, and how many processes

    @property
    def text(self) -> str:
        """For a person."""
        return f"{self.id} in {self.folder}, on {self.where}"


@dataclass(frozen=True)
class Line:
    """A line for a person, shown as it is."""

    text: str


@dataclass(frozen=True)
class Failure:
    """One of several trainings has failed; the others go on."""

    text: str


@dataclass(frozen=True)
class TrialInfo:
    """What a display says about a trial: one training of a study, or one repeat of a run.

    Attributes:
        number: from 0, in the order of the study.
        name: its recipe's name, or a run's id.
        phase: "repeats"; in a search "search", "rung 2" (of successive halving) or "final".
        what: the trial in words, such as `lr=0.1, seed 2`.
        n_epochs: how many passes over the training rows it takes, rounded up.
        folder: the folder of its run.
    """

    number: int
    name: str
    phase: str
    seed: int
    what: str
    n_epochs: int
    folder: Path


@dataclass(frozen=True)
class TrialStarted:
    """A trial's process has been started, for the first time or to continue it."""

    trial: TrialInfo


@dataclass(frozen=True)
class TrialProgress:
    """A trial is still running."""

    trial: TrialInfo
    epoch: int  # finished ones
    seconds: float  # since its start


@dataclass(frozen=True)
class TrialMoved:
    """A trial's node was lost; the trial continues on another one from its last checkpoint."""

    trial: TrialInfo


@dataclass(frozen=True)
class TrialEnded:
    """A trial has ended.

    Attributes:
        status: `complete`, or the cause of its failure, such as `diverged`.
        reason: of the failure, in words; empty where the trial is complete.
        score: accuracy on the validation rows, 0..1; None where the trial has none.
        best: the highest score so far; the repeats with new seeds at the end of a search do not count.
        total: how many trials there will be; None while a time limit decides it.
    """

    trial: TrialInfo
    status: str
    reason: str
    score: float | None
    seconds: float
    best: float | None
    total: int | None


@dataclass(frozen=True)
class StudyStarted:
    """The trials of a study are run from here on; a Stop lets them save themselves."""

    id: str


TrialEvent = TrialStarted | TrialProgress | TrialMoved | TrialEnded
Event = Step | Progress | Epoch | Doing | Note | Stage | Fact | RunStarted | StudyStarted | TrialEvent | Line | Failure
Result = TypeVar("Result")
Work = Generator[Step, None, Result]  # yields steps and returns its result
Events = Generator[Event, None, Result]


def finish(work: Work[Result]) -> Result:
    """Runs a work to its end, without showing it, and gives its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result


class Tally:
    """What a plain function, which yields nothing, has done so far; `watched` shows it while it runs."""

    def __init__(self) -> None:
        self.step: Step | None = None
        self._is_stopped = False

    def count(self, what: str, done: int, total: int = 0) -> None:
        """Says how far it is.

        Raises:
            Stop: nobody waits for it any more.
        """
        if self._is_stopped:
            raise Stop(signal=0)
        self.step = Step(what, done, total)

    def over(self, items: Iterable[_Item], what: str, total: int) -> Iterator[_Item]:
        """The items, of which it is counted now and then how many are done.

        Raises:
            Stop: see `count`.
        """
        for number, item in enumerate(items):
            if number % _COUNTED == 0:
                self.count(what, number, total)
            yield item

    def stop(self) -> None:
        """Makes the function end when it counts next."""
        self._is_stopped = True


def watched(function: Callable[[Tally], Result]) -> Work[Result]:
    """Runs a function in a thread, shows what it counts from the first second on, and gives its result.

    What it raises is raised here; where this work is closed or interrupted, the function ends first.
    """
    from concurrent.futures import ThreadPoolExecutor, wait  # not where nothing is watched, as in --help

    tally, shown, began = Tally(), None, time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(function, tally)
        try:
            while not wait((future,), timeout=_LOOK_EVERY).done:
                step = tally.step
                if step is not None and step is not shown and time.monotonic() - began > _SHORT:
                    shown = step
                    yield step
        except BaseException:
            tally.stop()
            raise
        return future.result()


class Stop(Exception):
    """Thrown into a generator of events by whoever shows them: save, say how to continue, and return.

    Attributes:
        signal: the number of the signal that asked for it.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


@dataclass(frozen=True)
class Ended(Generic[Result]):
    """How a work ended: with its result, or by a signal."""

    result: Result | None
    signal: int | None = None


def until_stopped(events: Generator[Event, None, Result]) -> Events[Ended[Result]]:
    """The events until their end or until a Stop, which closes them: a training that is closed saves itself."""
    try:
        while True:
            event = next(events)
            try:
                yield event
            except Stop as stop:
                return Ended(None, stop.signal)
    except StopIteration as end:
        return Ended(end.value)
    finally:
        events.close()
