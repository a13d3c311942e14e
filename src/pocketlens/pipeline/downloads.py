"""The numbers of the charts on the page of `auto`, to be taken away."""

from __future__ import annotations

from dataclasses import dataclass

from pocketlens.pipeline.compared import Compared
from pocketlens.pipeline.story import Story
from pocketlens.pipeline.timeline import Timeline
from pocketlens.report.downloads import Download, Table, offer


@dataclass(frozen=True)
class StoryDownloads:
    """What can be taken away: the timeline, where there is one, and each comparison."""

    timeline: Download | None
    compared: tuple[Download, ...]


def story_downloads(story: Story) -> StoryDownloads:
    """The downloads of the page of a session."""
    timeline = story.timeline
    return StoryDownloads(
        timeline=None if timeline is None else offer(story.session, "Where the time went", _timeline(timeline)),
        compared=tuple(offer(story.session, each.title, _compared(each)) for each in story.compared),
    )


def _timeline(timeline: Timeline) -> Table:
    rows = tuple((span.title, span.start, span.planned, span.took, span.result) for span in timeline.spans)
    return Table(("phase", "start, s", "planned, s", "took, s", "result"), rows)


def _compared(compared: Compared) -> Table:
    rows = tuple(
        (
            *(row.name, row.note),
            *row.estimate.to_dict().values(),
            *(row.seconds, "yes" if row.is_chosen else "no", row.verdict),
        )
        for row in compared.rows
    )
    return Table(("candidate", "values", "accuracy", "low", "high", "seconds", "chosen", "against the recipe"), rows)
