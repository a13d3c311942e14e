"""Shows any work while it runs: one progress bar on a terminal or in a notebook, plain lines elsewhere.

`follow` consumes a generator of events (events.py), stops it when a signal comes, and gives back its result.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic

from pocketlens.display.screen import Screen
from pocketlens.display.signals import stop_on_signals
from pocketlens.events import (
    Doing,
    Epoch,
    Event,
    Fact,
    Failure,
    Line,
    Note,
    Progress,
    Result,
    RunStarted,
    Stage,
    Step,
    Stop,
    StudyStarted,
    TrialEnded,
    TrialMoved,
    TrialProgress,
    TrialStarted,
)
from pocketlens.text import clock, printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from pocketlens.training.ranks import Ranks

TRIALS = f"  {'trial':>9}  {'val acc':>8}  {'best':>8}  {'time':>7}  {'elapsed':>7}  what"
HEADER = "  epoch size       lr train: loss    acc   val: loss    acc best   time patience"
_LR = "       lr"  # the column that a fitted head does without
_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_UPDATES = 0.2  # reading the loss waits for the device, so the bar does not do it at every step
_SECONDS_OF_RATE = 20.0  # images per second are a mean over at most so long


@dataclass(frozen=True)
class Followed(Generic[Result]):
    """How the work ended: its result, and the signal that stopped it or None.

    The result is None where a signal stopped work that has nothing to keep.
    """

    result: Result | None
    signal: int | None

    @property
    def exit_code(self) -> int:
        """0, or 128 + the signal."""
        return 0 if self.signal is None else 128 + self.signal


def follow(events: Generator[Event, None, Result], screen: Screen, ranks: Ranks | None = None) -> Followed[Result]:
    """Shows the events of a work until it is done or a signal comes; then the work saves itself.

    Of several ranks, all stop behind the same step, whichever of them a signal has reached.
    """
    signal_that_came: Callable[[], int | None] = _no_signal
    with contextlib.closing(events), _shown(screen) as show, contextlib.ExitStack() as stack:
        signal: int | None = None
        try:
            while signal is None:
                event = next(events)
                show(event)
                if signal_that_came is _no_signal and isinstance(event, _SAVES_ITSELF):
                    alone = ranks is None or ranks.n == 1
                    signal_that_came = stack.enter_context(stop_on_signals(in_haste=alone))
                signal = _agreed(signal_that_came(), event, ranks)
            show(events.throw(Stop(signal)))
            while True:
                show(next(events))
        except StopIteration as end:
            result: Result | None = end.value
        except Stop:
            result = None
        if signal is None and (ranks is None or ranks.n == 1):
            signal = signal_that_came()  # one that came behind the last event
    return Followed(result, signal)


_SAVES_ITSELF = (
    RunStarted,
    StudyStarted,
    Stage,
)  # from then on, a signal stops instead of interrupts


def _no_signal() -> int | None:
    return None


def _agreed(signal: int | None, event: Event, ranks: Ranks | None) -> int | None:
    """The signal that has come to any of the ranks; they ask each other behind events that come to all alike."""
    if ranks is None or ranks.n == 1:
        return signal
    return ranks.highest(signal) if isinstance(event, (Progress, Epoch)) else None


Show = Callable[[Event], None]


def _shown(screen: Screen) -> contextlib.AbstractContextManager[Show]:
    return _bar(screen) if is_live(screen) else contextlib.nullcontext(_Plain(screen))


def is_live(screen: Screen) -> bool:
    """Whether the screen can redraw a line: a terminal, or a notebook's output."""
    return screen.stream.isatty() or ("ipykernel" in sys.modules and screen.stream is sys.stdout)


class _Plain:
    """Lines for a file or a pipe: every fact and epoch, and from time to time how far a long step is."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.meter = Meter(time.monotonic(), time.monotonic())
        self.spoken = self.began = time.monotonic()
        self.what = ""

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        self.meter = self.meter.after(event, now)
        match event:
            case Step():
                self._step(event, now)
            case TrialStarted() | TrialProgress():
                pass  # only the ends of trials are lines
            case Progress():
                if now - self.spoken > _SECONDS_BETWEEN_LINES:
                    self.spoken = now
                    self.screen.say(progress_line(event, self.meter.images_per_second))
            case _:
                self.spoken = now
                _say(event, self.meter, self.screen)

    def _step(self, step: Step, now: float) -> None:
        if step.what != self.what:
            self.what, self.began, self.spoken = step.what, now, now
        if step.done >= step.total > 0:
            self.screen.fact("", f"{step.what}: {step.total:,} in {clock(now - self.began)}")
            self.what = ""
        elif now - self.spoken > _SECONDS_BETWEEN_LINES:
            self.spoken = now
            of = f" of {step.total:,}" if step.total else ""
            self.screen.fact("", f"{step.what}: {step.done:,}{of}{self._left(step, now)}")

    def _left(self, step: Step, now: float) -> str:
        """The estimate of the time that a long step still takes."""
        if not step.done or not step.total:
            return ""
        return f", about {clock((now - self.began) * (step.total - step.done) / step.done)} left"


@contextlib.contextmanager
def _bar(screen: Screen) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(file=screen.stream, highlight=False, soft_wrap=True)
    columns = (
        TextColumn("  {task.description} {task.fields[count]}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[said]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        yield _Live(screen, bar)


class _Live:
    """One bar below the lines that stay: of the training's steps, or of the work that goes on.

    Between them it moves all the same, with what is being done and the seconds that it has taken: nothing is silent.
    """

    def __init__(self, screen: Screen, bar: Bar) -> None:
        self.screen, self.bar = screen, bar
        self.meter = Meter(time.monotonic(), time.monotonic())
        self.task: TaskID | None = None
        self.what = ""
        self.shown = 0.0
        self._wait("starting")

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        self.meter = self.meter.after(event, now)
        match event:
            case Step():
                self._update(event.what, event.done, event.total, "")
            case Progress():
                if now - self.shown > _SECONDS_BETWEEN_UPDATES:
                    self.shown = now
                    rate = f"{self.meter.images_per_second:,.0f} images/s"
                    said = f"epoch {event.epoch:.2f}  loss {event.loss:.3f}  {rate}"
                    self._update("step", event.step, event.n_steps, said)
            case TrialStarted() | TrialProgress():
                self._show_trial(event)
            case TrialEnded():
                _say(event, self.meter, self.screen, self._print)
            case Doing():
                self._wait(event.text)
            case Epoch():
                _say(event, self.meter, self.screen, self._print)
                if event.number >= event.n_epochs:
                    self._wait("working")
            case _:
                _say(event, self.meter, self.screen, self._print)
                self._wait("working")

    def _show_trial(self, event: TrialStarted | TrialProgress) -> None:
        trial, epochs = event.trial, event.epoch if isinstance(event, TrialProgress) else 0
        self._update(f"trial {trial.number + 1}, {trial.what}: epoch", epochs, trial.n_epochs, "")

    def _update(self, what: str, done: int, total: int, said: str) -> None:
        if what != self.what:
            self._remove()
            self.what = what
        count, left = (f"{done:,}/{total:,}", "left") if total else (f"{done:,}", "")
        if self.task is None:
            self.task = self.bar.add_task(printable(what), total=total or None, said=said, count=count, left=left)
        self.bar.update(self.task, completed=done, total=total or None, said=said, count=count)
        if what != "step" and done >= total > 0:
            self._wait("working")

    def _wait(self, what: str) -> None:
        """Shows that something is done of which nobody knows how long it takes."""
        self._remove()
        self.task = self.bar.add_task(printable(what), total=None, said="", count="", left="")

    def _remove(self) -> None:
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task, self.what = None, ""

    def _print(self, line: str) -> None:
        self.bar.console.print(printable(line), markup=False, highlight=False, emoji=False)


def _say(event: Event, meter: Meter, screen: Screen, say: Callable[[str], None] | None = None) -> None:
    if isinstance(event, Failure):
        screen.warn(event.text)
        return
    for line in event_lines(event, meter):
        (say or screen.say)(line)


def event_lines(event: Event, meter: Meter) -> list[str]:
    """The lines of an event that stays on the screen."""
    match event:
        case Epoch():
            return ([epoch_header(event)] if event.number == 1 else []) + [epoch_line(event, meter.epoch_seconds)]
        case Doing():
            return [f"{'':<9}{event.text} …"]
        case Fact():
            return [f"{event.name:<9}{event.text}"]
        case RunStarted():
            return [f"{'run':<9}{event.text}"]
        case Note():
            return [f"{'':<9}{event.text}"]
        case Line():
            return [event.text]
        case StudyStarted():
            return []
        case TrialEnded():
            return ([TRIALS] if meter.n_trials == 1 else []) + [trial_line(event, meter.elapsed)]
        case TrialMoved():
            lost = f"the node of trial {event.trial.number + 1} was lost; the trial continues on another one"
            return [f"{'':>11}  {lost}"]
        case Stage():
            return [f"{event.name if place == 0 else '':<9}{line}" for place, line in enumerate(event.lines)]
        case _:
            raise AssertionError(f"{event} is not shown as lines")


@dataclass(frozen=True)
class Meter:
    """What follows from when events came: seconds of the last epoch, images per second, and how long trials run."""

    epoch_began: float
    window_began: float
    n_images: int = 0
    images_per_second: float = 0.0
    epoch_seconds: float = 0.0
    n_trials: int = 0  # that have ended
    trials_began: float = 0.0
    elapsed: float = 0.0  # since the study started

    def after(self, event: Event, now: float) -> Meter:
        """The meter after an event; a new window starts after each epoch, so that validation does not count."""
        match event:
            case Epoch():
                return Meter(now, now, 0, self.images_per_second, now - self.epoch_began)
            case Progress():
                seconds, n_images = now - self.window_began, self.n_images + event.n_images
                rate = n_images / seconds if seconds > 0.5 else self.images_per_second
                if seconds > _SECONDS_OF_RATE:
                    return replace(self, window_began=now, n_images=0, images_per_second=rate)
                return replace(self, n_images=n_images, images_per_second=rate)
            case StudyStarted():
                return replace(self, n_trials=0, trials_began=now)
            case TrialEnded():
                return replace(self, n_trials=self.n_trials + 1, elapsed=now - self.trials_began)
            case Doing() | Note() | TrialStarted() | TrialProgress() | TrialMoved():
                return self
            case _:
                return replace(self, epoch_began=now, window_began=now, n_images=0)


def epoch_header(epoch: Epoch) -> str:
    """HEADER, without the learning rate where there is none."""
    return HEADER if "lr" in epoch.record else HEADER.replace(_LR, "")


def epoch_line(epoch: Epoch, seconds: float) -> str:
    """One line of the table, below `epoch_header`."""
    record = epoch.record
    cells = (
        f"{epoch.number:>3}/{math.ceil(epoch.n_epochs):<3}",
        f"{record.get('size') or '-':>4}",
        *([f"{record['lr']:>8.3g}"] if "lr" in record else []),
        f"{_loss(record['train_loss']):>11}",
        f"{_percent(record['train_accuracy']):>6}",
        f"{_loss(record['val_loss']):>11}",
        f"{_percent(record['val_accuracy']):>6}",
        f"{'  *' if record['best'] else '':<4}",
        f"{clock(seconds):>6}",
        _patience(epoch),
    )
    return " ".join(cells).rstrip()


def trial_line(event: TrialEnded, elapsed: float) -> str:
    """One line of the table of trials, below TRIALS."""
    score = f"{event.score:.2%}" if event.score is not None else event.status
    best = f"{event.best:.2%}" if event.best is not None else "-"
    return (
        f"  {event.trial.number + 1:>4}/{event.total or '…':<4}  {score:>8}  {best:>8}  {clock(event.seconds):>7}  "
        f"{clock(elapsed):>7}  {event.trial.what}"
    )


def progress_line(progress: Progress, images_per_second: float) -> str:
    """What a plain line says between two epochs."""
    return (
        f"          step {progress.step:,} of {progress.n_steps:,}, epoch {progress.epoch:.2f}, "
        f"loss {progress.loss:.3f}, {images_per_second:,.0f} images/s"
    )


def _patience(epoch: Epoch) -> str:
    if epoch.record["val_accuracy"] is None:
        return ""
    since = epoch.bad_epochs
    if epoch.patience is not None:
        return f"{epoch.patience - since} left"
    return f"{since} no gain" if since else ""


def _loss(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2%}"
