"""`pl.auto` and `pocketlens auto`: the call, what it takes, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pocketlens.api.calls import run_call
from pocketlens.api.requests import build, signed
from pocketlens.events import Doing, Event, Events, Fact, Line, Stage, Stop
from pocketlens.own_code import name_typed
from pocketlens.pipeline.options import AutoOptions as AutoOptions
from pocketlens.pipeline.result import AutoResult


@dataclass(frozen=True, eq=False)
class AutoEnded:
    """How `auto` ended: what each phase reported, and the outcome, or None where it was stopped."""

    stages: tuple[Stage, ...]
    result: AutoResult | None

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        facts: dict[str, Any] = {"stages": [{"stage": stage.name, **stage.facts} for stage in self.stages]}
        if self.result is None:
            return {**facts, "stopped": True}
        folds = self.result.folds
        return {**facts, **self.stages[-1].facts, **({} if folds is None else {"folds": folds.to_dict()})}


def auto(dataset: str, *, verbose: bool = True, **options: Any) -> AutoResult:
    """Trains the best classifier for a data set within a time limit, tests it once, and writes its page.

    An unfinished session of the same data and minutes is resumed.

    Args:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`.
        verbose: show the progress.
        options: `minutes` (30) and the other fields of AutoOptions; `device` and `threads`.

    Returns:
        The outcome: its run, page, scores and choices. It predicts: `pl.predict(result, ["cat.jpg"])`.

    Raises:
        PocketlensError: an option or the data is not what it must be.
        KeyboardInterrupt: it was stopped; the same call resumes.
    """
    made = build(AutoOptions, {"dataset": dataset if callable(dataset) else str(dataset)}, options)
    ended = run_call(auto_events(made), verbose=verbose)
    if ended.result is None:
        raise KeyboardInterrupt
    return ended.result


signed(auto, AutoOptions)


def auto_events(options: AutoOptions) -> Events[AutoEnded]:
    """The events of `auto`. A Stop that is thrown in saves the session."""
    yield Doing("loading PyTorch")
    device = options.machine.prepare()
    from pocketlens.models._bodies import probe_recipe
    from pocketlens.pipeline.fold_data import session_text
    from pocketlens.pipeline.folds import run_folds
    from pocketlens.pipeline.procedure import run_auto
    from pocketlens.pipeline.session import close_sessions
    from pocketlens.training.dry_run import try_weights

    name_typed(options.dataset)
    if options.body not in ("auto", "none"):
        try_weights(probe_recipe(options.body))
    for session in close_sessions(session_text(options), options.runs) if options.new else ():
        yield Fact("new", f"session {session} is closed; its files are kept")
    stages: list[Stage] = []
    run = run_auto if options.folds is None else run_folds
    events = run(options, device)
    try:
        while True:
            event: Event = next(events)
            if isinstance(event, Stage):
                stages.append(event)
            yield event
    except StopIteration as end:
        return AutoEnded(tuple(stages), end.value)
    except Stop:
        events.close()
        yield Line("stopped; the same command resumes (--new starts over)")
        return AutoEnded(tuple(stages), None)
