"""The nets of the reports have the reports' counts, and docs/models.md says what the code does."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from made_models import build

from pocketlens.components import names, parse_one

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("models")


def nets() -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return list(importlib.import_module("report_nets").REPORTS)


def n_parameters(text: str, shape: tuple[int, int, int] = (32, 32, 3), n_classes: int = 100) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(text, shape, n_classes).parameters())


@pytest.mark.parametrize("net", nets(), ids=lambda net: f"{net.row} {net.name}")
def test_a_net_has_the_count_of_its_report(net: Any) -> None:
    with torch.device("meta"):
        model = build(net.text, net.shape, net.n_classes)
    own = sum(parameter.numel() for parameter in model.parameters())
    if net.with_statistics:
        own += sum(value.numel() for key, value in model.named_buffers() if "running" in key)
    if net.exact:
        assert own == net.published
    else:
        assert abs(own - net.published) <= 0.01 * net.published


def test_all_nets_of_the_reports_are_there() -> None:
    published = {net.published for net in nets()}
    assert published >= {
        *(9_198_276, 23_712_932, 23_184_804, 32_396_096, 20_013_928, 6_454_948, 184_004, 497_092, 48_493_476),
        *(937_834, 2_917_482, 4_801_578, 8_028_618, 2_258_890, 1_253_276, 1_122_830),
    }


def test_layer_f6_of_lenet_has_the_reports_parameters() -> None:
    with torch.device("meta"):
        linear = [module for module in build("lenet").body if isinstance(module, torch.nn.Linear)]
    assert sum(parameter.numel() for parameter in linear[-1].parameters()) == 10_164


@pytest.mark.slow
def test_the_page_holds_the_counts_of_the_code(benchmark: ModuleType) -> None:
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    families, reports = page.split("## Nets of the five reports")
    rows = dict(re.findall(r"^\| `(.*?)` \| [^|]* \| ([\d,]+) \|", families, re.MULTILINE))
    assert list(rows) == benchmark.texts()
    assert {parse_one(text, "models").name for text in rows} == set(names("models"))
    for text, counted in rows.items():
        assert int(counted.replace(",", "")) == n_parameters(text), text
    for net in nets():
        assert f"| {net.name} | {net.published:,} | " in reports
        assert f"`{net.text}`" in reports


def test_the_page_tells_the_speeds_that_were_measured(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "texts", lambda: ["mlp"])
    monkeypatch.setattr(benchmark, "report_lines", list)
    speeds = benchmark.measure_all(["mlp"], 8, 0.0)
    assert speeds["images_per_second"]["mlp"]["batch_size"] == 8
    speeds["images_per_second"]["mlp"]["rate"] = 1234.5
    page = benchmark.page({**speeds, "processor": "Abacus 3000"})
    assert "on Abacus 3000 with" in page
    assert page.rstrip().endswith("| `mlp` | no paper | 3,249,252 | 3,248,128 | 1,234 |")


@pytest.mark.slow
def test_the_page_is_what_the_command_writes(benchmark: ModuleType) -> None:
    def without_speeds(page: str) -> str:
        return re.sub(r"\| [\d,]* \|$|^Images per second.*", "", page, flags=re.MULTILINE)

    written = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    assert without_speeds(written) == without_speeds(benchmark.page(None))
