"""Scores the final run on the test set, once; where the test set has been opened before, validation has to do."""

from __future__ import annotations

from pocketlens.data.duplicates import known_duplicates
from pocketlens.evaluation.open_test import open_test
from pocketlens.events import Stage
from pocketlens.files import read_json
from pocketlens.pipeline.task import Task
from pocketlens.scoring.ledger import openings
from pocketlens.scoring.scores import Scores
from pocketlens.text import counted, times
from pocketlens.training.run import Run


def score_final(task: Task, run: Run) -> Stage:
    """Opens the test set unless it is empty or has been opened for another run; after a kill, reads the scores that are
    there.
    """
    session = task.session
    if not len(task.sealed):
        said = ("there are no test images, so there is no test score", _validation_line(run))
        return session.finish_phase(Stage("test", said, {"opened": False, "openings": 0, "test": None}))
    earlier = [opening for opening in openings(task.sealed) if opening.run != run.id]
    if earlier and not session.state.request.open_again:
        last = earlier[-1]
        lines = (
            f"the test set has been opened {times(len(earlier))} before (last: {last.time}, run {last.run}) and stays "
            "closed",
            _validation_line(run),
            f"to open it anyway: pocketlens test {run.id}, or auto with --test",
        )
        return session.finish_phase(Stage("test", lines, {"opened": False, "openings": len(earlier), "test": None}))
    path = run.file("scores-test.json")
    if path.exists():
        scores = Scores.from_dict(read_json(path), str(path))
    else:
        known = known_duplicates(task.dataset, task.sealed)
        scores = open_test(run, task.sealed, device=task.limits.device, duplicates=known, resumed=True)
    facts = {"opened": True, "openings": len(openings(task.sealed)), "test": scores.to_dict()}
    return session.finish_phase(Stage("test", (*scores.lines(), *superclass_lines(scores)), facts))


def superclass_lines(scores: Scores) -> tuple[str, ...]:
    """The accuracy over superclasses, which needs no training: the probabilities of their classes are added up."""
    above = scores.superclasses
    if above is None or scores.coarse is None or scores.coarse.value is None or len(above) == len(scores.classes):
        return ()
    return (
        f"{counted(len(above), 'superclass')}: {100 * scores.coarse.value:.2f} % by summing the "
        "probabilities of their classes, "
        "from this same opening (a model trained on superclasses would need another one)",
    )


def _validation_line(run: Run) -> str:
    history = run.history()
    accuracy = history[-1]["val_accuracy"] if history else None
    if accuracy is None:
        return "there is no validation score either"
    return f"reporting the validation accuracy instead: {100 * accuracy:.2f} %"
