"""What `auto` gives back: where everything lies, what was chosen, and how good the classifier is."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from pocketlens.events import Stage
from pocketlens.pipeline.fold_scores import FoldedScore
from pocketlens.pipeline.session import AutoSession
from pocketlens.scoring.scores import Scores
from pocketlens.training.run import Run


@dataclass(frozen=True, eq=False)
class AutoResult:
    """The outcome of a finished session.

    Attributes:
        session: its id.
        page: its page, which links to those of its phases.
        run: the final training.
        choices: by phase ("augment", "models", "search"), the candidate that replaced the recipe, or None where the
            recipe stayed; phases that were skipped are absent.
        test: the scores on the test set; None where there is none or it stayed closed, having been opened before.
        seconds: of work, including those before a kill.
        stages: what each phase reported, in order.
        folds: the accuracy over the pooled test images of the folds, and each fold's; None without folds.
    """

    session: str
    page: Path
    run: Run
    choices: dict[str, str | None]
    test: Scores | None
    seconds: float
    stages: tuple[Stage, ...]
    folds: FoldedScore | None = None

    def __str__(self) -> str:
        lines = [f"{stage.name if place == 0 else '':<9}{line}" for stage in self.stages for place, line in
                 enumerate(stage.lines)]  # fmt: skip
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        page = f'<a href="{escape(self.page.resolve().as_uri())}">{escape(str(self.page))}</a>'
        return f"<pre>{escape(str(self))}</pre>{page}"


def result_of(session: AutoSession) -> AutoResult:
    """The result of a session whose last phase, the report, has finished."""
    done = session.state.done
    report = done["report"]
    assert report.page is not None, "the report names the session's page"
    assert report.run_path is not None, "and the folder of the final run"
    return AutoResult(
        session=session.id,
        page=report.page,
        run=Run(report.run_path),
        choices={name: result.choice for name, result in done.items() if result.has_verdict},
        test=done["test"].test_scores,
        seconds=session.state.spent,
        stages=tuple(session.stage(name) for name in done),
        folds=done["folds"].folded if "folds" in done else None,
    )
