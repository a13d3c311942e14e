"""The head of a model card: the YAML block by which the Hugging Face Hub lists a model.

Fields: the model card specification, `modelcard.md` of github.com/huggingface/hub-docs. A licence is never among them,
as nothing that a run records tells it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pocketlens.components import parse_one
from pocketlens.errors import PocketlensError
from pocketlens.report.run.facts import Facts
from pocketlens.report.titles import short_name
from pocketlens.scoring.scores import Scores
from pocketlens.text import printable

TASK = "image-classification"
_ON_THE_HUB = {  # data sets by the name of the component: what the Hub, or its package `datasets`, calls them
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "mnist": "ylecun/mnist",
    "folder": "imagefolder",
}
_PLAIN = re.compile(
    r"[A-Za-z][A-Za-z0-9]*([ _-][A-Za-z0-9]+)*"
)  # the only texts without quotes: no reader takes them for a number


def write_metadata(facts: Facts, formats: Sequence[str]) -> str:
    """The YAML block, from its `---` to the other one; `formats` are those of the exported files."""
    import yaml

    text: str = yaml.dump(
        _metadata(facts, formats), Dumper=_dumper(), allow_unicode=True, sort_keys=False, width=2**31 - 1
    )
    return f"---\n{text}---\n"


def _metadata(facts: Facts, formats: Sequence[str]) -> dict[str, Any]:
    kind = _kind(facts.data)
    found: dict[str, Any] = {
        "library_name": "pocketlens",
        "pipeline_tag": TASK,
        "tags": [TASK, "pocketlens", *sorted(set(formats))],
    }
    if kind in _ON_THE_HUB:
        found["datasets"] = [_ON_THE_HUB[kind]]
    found["metrics"] = ["accuracy", "f1"]
    scores = facts.scores
    if scores is not None and scores.part == "test":
        found["model-index"] = [{"name": printable(facts.label or facts.run_id), "results": [_result(facts, scores)]}]
    return found


def _result(facts: Facts, scores: Scores) -> dict[str, Any]:
    """The test scores as a result of the model index."""
    kind = _kind(facts.data)
    metrics = [("accuracy", scores.top1, "Test accuracy"), ("f1", scores.averages["macro"]["f1"], "Test F1, macro")]
    return {
        "task": {"type": TASK, "name": "Image classification"},
        "dataset": {"type": _ON_THE_HUB.get(kind, kind), "name": short_name(facts.data), "split": "test"},
        "metrics": [
            {"type": name, "value": round(estimate.value, 6), "name": title}
            for name, estimate, title in metrics
            if estimate.value is not None
        ],
    }


def _kind(data: str) -> str:
    """The name of the component that reads the data."""
    try:
        return parse_one(data, "datasets").name
    except PocketlensError:
        return "custom"


def _dumper() -> Any:
    """Writes texts in double quotes: `1e3`, `no` and `2024-01-01` stay texts for readers of every version of YAML."""
    import yaml

    class Quoted(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
            super().increase_indent(flow, False)

    def represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = None if _PLAIN.fullmatch(text) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Quoted.add_representer(str, represent)
    return Quoted
