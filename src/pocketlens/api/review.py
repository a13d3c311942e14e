"""Reviewing: `pl.review` and `pocketlens review` open a local page on which one decides on what `look` has found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketlens.api.requests import Code, DataRequest, build, name_request, signed
from pocketlens.api.shown import Shown
from pocketlens.display.browser import show_in_browser
from pocketlens.display.signals import stop_on_signals
from pocketlens.errors import PocketlensError
from pocketlens.files import LOOKS, RUNS
from pocketlens.text import as_command, counted, printable

if TYPE_CHECKING:
    from pocketlens.audit.review.app import Review

LABELS = Path("labels.csv")
HOST = "127.0.0.1"


@dataclass(frozen=True)
class ReviewRequest:
    """What is reviewed, and where.

    Attributes:
        look: the folder of the look whose findings are reviewed; None takes the newest one at these images.
        out: the file of decisions, which is gone on with where it exists.
        port: to listen on; 0 takes any free one.
        open: whether the page is opened in the browser.
        code: the files of one's own that the data uses.
    """

    data: DataRequest
    look: Path | None = None
    out: Path = LABELS
    port: int = 0
    open: bool = False
    code: Code = ()

    def check(self) -> None:
        """Checks all that can be checked without reading data.

        Raises:
            PocketlensError: a value is not what it must be, or there is no look at all.
        """
        self.data.check()
        if not 0 <= self.port <= 65535:
            raise PocketlensError(f"--port must be 0 to 65535, got {self.port}.")
        if not self.out.parent.is_dir():
            raise PocketlensError(f"--out must be in a folder that exists, got {printable(str(self.out))!r}.")
        if self.look is not None and not (self.look / "look.json").is_file():
            raise PocketlensError(
                f"--look must be a folder that pocketlens look has written, got {printable(str(self.look))!r}; first "
                f"type: {self.look_command}"
            )
        if self.look is None and not self.pages:
            raise PocketlensError(
                "a review needs the findings of pocketlens look, and there are none here; first type: "
                f"{self.look_command}"
            )

    @property
    def pages(self) -> list[Path]:
        """The look.json of each look in this folder, and of each audit of `auto`."""
        return [*LOOKS.glob("*/look.json"), *(RUNS / "autos").glob("*/look/look.json")]

    @property
    def look_command(self) -> str:
        """The command that makes the findings."""
        return as_command(["pocketlens", "look", self.data.dataset, *self._data_words()])

    @property
    def compare_command(self) -> str:
        """The command that asks whether the decisions help."""
        path = str(self.out)
        typed = path if re.fullmatch(r"[\w./ -]+", path) else repr(path)
        words = ["pocketlens", "compare", self.data.dataset, "base", f"relabel={typed}"]
        return as_command([*words, *self._data_words()])

    def _data_words(self) -> list[str]:
        return [] if self.data.data is None else ["--data", str(self.data.data)]


@dataclass(frozen=True)
class ReviewResult(Shown):
    """What has been decided, of how many images, and where it is written; `command` asks whether it helps."""

    out: Path
    n_items: int
    n_kept: int
    n_corrected: int
    n_dropped: int
    command: str

    @property
    def n_decided(self) -> int:
        """How many images are decided on."""
        return self.n_kept + self.n_corrected + self.n_dropped

    def lines(self) -> list[str]:
        """The counts, and the command that asks whether the decisions help."""
        if not self.n_decided:
            return [f"labels   none of {counted(self.n_items, 'image')} is decided"]
        kinds = (("kept", self.n_kept), ("corrected", self.n_corrected), ("dropped", self.n_dropped))
        parts = ", ".join(f"{n:,} {kind}" for kind, n in kinds)
        done = f"labels   {self.out}: {self.n_decided:,} of {counted(self.n_items, 'image')} decided ({parts})"
        return [done, f"next: {self.command}"] if self.n_corrected or self.n_dropped else [done]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` gives."""
        return {**vars(self), "out": str(self.out), "n_decided": self.n_decided}


@dataclass(frozen=True, eq=False)
class Reviewing:
    """A server that listens and has not begun to answer."""

    review: Review
    address: str
    request: ReviewRequest
    run: Callable[[], int | None]  # answers until a signal comes, and gives that signal

    @property
    def result(self) -> ReviewResult:
        """What is decided by now."""
        review = self.review
        items = review.findings.items
        texts = [text for item in items if (text := review.decisions.of(item.row).text)]
        n_kept, n_dropped = texts.count("keep"), texts.count("drop")
        n_corrected = len(texts) - n_kept - n_dropped
        return ReviewResult(self.request.out, len(items), n_kept, n_corrected, n_dropped, review.command)


def review(dataset: str | Path, **options: Any) -> ReviewResult:
    """Opens a page on which one decides on label issues, duplicates and outliers, until Ctrl-C; prints its address.

    Args:
        dataset: a path, or a component text such as `cifar100(labels='coarse')`; `pl.look` has looked at it.
        options: `look`, the folder of the look (None: the newest one at these images); `out`, the file of decisions
            (labels.csv), which is gone on with; `port`, 0 takes any free one; `open`, whether the page is opened in the
            browser (False); `data`, the folder that is searched first; and `code`.

    Returns:
        What was decided. Train with it by `pl.train(dataset, relabel="labels.csv")`.

    Raises:
        PocketlensError: nothing has looked at the data, or the file of decisions is in use or belongs to other data.
    """
    with reviewing(build(ReviewRequest, {"dataset": dataset}, options)) as server:
        print(f"page     {server.address}  (Ctrl-C ends it)", flush=True)
        server.run()
        return server.result


signed(review, ReviewRequest)


@contextmanager
def reviewing(request: ReviewRequest) -> Iterator[Reviewing]:
    """Reads the findings, listens, and gives a server that answers once it is run.

    Raises:
        PocketlensError: see `review`.
    """
    name_request(request.code, request.data)
    request.check()
    from pocketlens.inference.serve import Guard, check_packages, listening, new_token

    check_packages()
    from pocketlens.audit.review.app import MOST_BYTES, Review, make_app
    from pocketlens.audit.review.decisions import Decisions
    from pocketlens.audit.review.findings import find_look, read_findings
    from pocketlens.datasets import load_to_look

    dataset, sealed = load_to_look(request.data.dataset, request.data.data)
    folder = request.look or find_look(request.pages, dataset, request.look_command)
    findings = read_findings(folder, dataset, sealed)
    if not findings.items:
        left_out = f" ({', '.join(findings.skipped)} skipped)" if findings.skipped else ""
        raise PocketlensError(f"{folder} has found nothing to review{left_out}; look again: {request.look_command}")
    guard = Guard(HOST, new_token(), body=MOST_BYTES)
    with listening(guard, request.port) as place, stop_on_signals() as signal_that_came:
        decisions = Decisions(request.out, dataset, findings.items)
        try:
            found = Review(dataset, findings, decisions, guard, request.compare_command)

            def answer() -> int | None:
                show_in_browser(place.address, wanted=request.open)  # the socket listens already
                place.answer(make_app(found), signal_that_came)
                return signal_that_came()

            yield Reviewing(found, place.address, request, answer)
        finally:
            decisions.close()
