"""The model card: it says what was recorded, and shows what comes from outside as text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_predictors import made_predictor
from made_runs import make_dataset, make_logits, make_run

from pocketlens.inference.export import Exported
from pocketlens.inference.validation import read_temperature
from pocketlens.report.run.card_metadata import write_metadata
from pocketlens.report.run.facts import Facts, read_facts
from pocketlens.report.run.model_card import plain, write_card
from pocketlens.scoring.predictions import Predictions
from pocketlens.scoring.scores import score
from pocketlens.text import printable
from pocketlens.training.run import store

EVIL = ("<script>alert(1)</script>", "# head", "[a](javascript:x)", "`{{7*7}}`")


def made_export(folder: Path, format: str = "onnx") -> Exported:
    folder.mkdir(exist_ok=True)
    path = folder / f"model.{format}"
    path.write_bytes(b"12345")
    return Exported(path, format, 5, "0" * 64, 1000, 1.5e-5, 2.5e-6, 0, 1e-3)


def test_it_holds_the_facts(tmp_path: Path) -> None:
    dataset = make_dataset(200, ("ant", "bee", "cat", "dog"), (12, 12, 3))
    run = make_run(tmp_path, dataset, label="mine")
    predictor = made_predictor(temperature=None)
    write_card(run, predictor, made_export(tmp_path / "out", "safetensors"))
    text = write_card(run, predictor, made_export(tmp_path / "out")).read_text(encoding="utf-8")
    assert text.split("---\n")[2].startswith("\n# Model card: mine\n")
    for part in (
        "ant, bee, cat, dog",
        "images of 12 x 12 px",
        "top-1 accuracy",
        "The test set has not been opened",
        "not calibrated",
        "The data are the 200 development images of made",
        "1.5e-05 | 2.5e-06 | 0 |",
        "0" * 64,
        "`model.onnx`",
        "`model.safetensors`",
        'InferenceSession("model.onnx")',
        'predict("model.safetensors"',
    ):
        assert part in text, part
    facts = json.loads((tmp_path / "out" / "model.onnx.json").read_text(encoding="utf-8"))
    assert facts["probability_difference"] == 2.5e-6
    assert facts["path"] == "model.onnx"
    assert str(tmp_path) not in text


def test_test_scores_come_with_openings_and_calibration(tmp_path: Path) -> None:
    dataset = make_dataset(400, ("ant", "bee", "cat", "dog"), (12, 12, 3))
    run = make_run(tmp_path, dataset)
    labels = dataset.labels
    predictions = Predictions("test", np.arange(400), labels, make_logits(labels, 4, seed=5))
    scores = score(predictions, dataset.classes)
    store(run, predictions, replace(scores, opening=2, openings=3))
    predictor = replace(made_predictor(), temperature=read_temperature(run))
    text = write_card(run, predictor, made_export(tmp_path / "out")).read_text(encoding="utf-8")
    assert "opened 3 times" in text
    assert "Over the 400 test images the expected calibration error is 0.0" in text
    assert "fitted on 80 validation images" in text


def test_names_from_outside_are_text(tmp_path: Path) -> None:
    dataset = make_dataset(100, EVIL, (12, 12, 3), text="<b>data</b>")
    run = make_run(tmp_path, dataset, label="<img onerror=x>")
    text = write_card(run, made_predictor(classes=list(EVIL)), made_export(tmp_path / "out")).read_text(
        encoding="utf-8"
    )
    prose = text.split("---\n")[2].split("```")[0]
    for bad in ("<script", "<b>", "<img", "](", "\n# head"):
        assert bad not in prose.replace("\\<", "").replace("\\]", ""), bad
    assert plain("a\n# b\x1b[2J") == "a\\\\n\\# b\\\\x1b\\[2J"


def metadata(text: str) -> dict[str, object]:
    """The YAML block at the head of a card, as the Hub reads it."""
    empty, block, _ = text.split("---\n", 2)
    assert empty == ""
    found: dict[str, object] = yaml.safe_load(block)
    return found


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    dataset = make_dataset(60, ("ant", "bee", "cat", "dog"), (4, 4, 1))
    run = make_run(tmp_path_factory.mktemp("runs"), dataset)
    predictions = Predictions("test", np.arange(60), dataset.labels, make_logits(dataset.labels, 4))
    store(run, predictions, replace(score(predictions, dataset.classes), opening=1, openings=1))
    return read_facts(run)


def test_the_head_says_what_the_hub_asks_for(tmp_path: Path, tested: Facts) -> None:
    run = make_run(tmp_path, make_dataset(100, ("ant", "bee", "cat", "dog"), (12, 12, 3)))
    card = write_card(run, made_predictor(), made_export(tmp_path / "out")).read_text(encoding="utf-8")
    assert metadata(card) == {
        "library_name": "pocketlens",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pocketlens", "onnx"],
        "metrics": ["accuracy", "f1"],
    }, "no result without test scores, no licence that nobody gave, no data set that the Hub does not know"
    found = metadata(write_metadata(replace(tested, data="cifar100(labels='coarse')", label="mine"), ["onnx", "onnx"]))
    assert found["datasets"] == ["uoft-cs/cifar100"]
    assert tested.scores is not None
    hub = pytest.importorskip("huggingface_hub.repocard_data")
    name, results = hub.model_index_to_eval_results(found["model-index"])
    assert name == "mine"
    assert [(each.task_type, each.dataset_type, each.dataset_split, each.metric_type) for each in results] == [
        ("image-classification", "uoft-cs/cifar100", "test", kind) for kind in ("accuracy", "f1")
    ]
    assert results[0].metric_value == pytest.approx(tested.scores.top1.value, abs=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "1e3",
        "0o7",
        "no",
        "2024-01-01",
        "---",
        "a: b # c",
        "'\"\\{[&*!|>%@`",
        "x" * 300,
        "\ufffe\u2028\x1b\n---\n",
        "\udcff 猫 🐈",
    ],
)
def test_the_head_is_yaml_whatever_the_names_are(tested: Facts, name: str) -> None:
    text = write_metadata(replace(tested, data=f"folder(path={name!r})", label=name), ["onnx"])
    result = metadata(text)["model-index"][0]
    assert result["name"] == printable(name)
    assert result["results"][0]["dataset"]["type"] == "imagefolder"
    assert isinstance(result["results"][0]["dataset"]["name"], str)
    assert f'name: "{name}"' in text or name != "1e3", "other readers take 1e3 for a number"
