"""Writes docs/models.md: every model with its paper, parameters, multiply-adds and training speed; the reports' nets.

    python benchmarks/models.py --write docs/models.md                  counts, and the speeds of the last measurement
    python benchmarks/models.py --measure --write docs/models.md        measures first (under ten minutes on two cores)

A speed is that of whole training steps (forward, backward, SGD with momentum) on random images of 32 x 32 x 3 with 100
classes: the median over several steps of one batch of 128, or of fewer where a step of 128 would take too long.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
import re
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from report_nets import CIFAR, REPORTS, UNCOUNTED, Net

from pocketlens.components import names, parse_one, resolve
from pocketlens.files import write_json
from pocketlens.models._data_init import InitFromData
from pocketlens.training.device import keep_freed_memory
from pocketlens.training.model_summary import layer_table, totals

ROOT = Path(__file__).parent.parent
SPEEDS = ROOT / "benchmarks/models.json"
MOST = 0.5e12  # floating-point operations of a measured step, at most

# Besides each model as it is without options.
VARIANTS = {
    "coatnet": ("coatnet(blocks=(2, 2, 6, 14, 2))", "coatnet(strides=(1, 1, 2, 2, 2))"),
    "densenet": ("densenet(depth=100)",),
    "efficientnet": ("efficientnet(phi=-4)", "efficientnet(scale=1)"),
    "preact_resnet": ("preact_resnet(depth=164)",),
    "resnet": ("resnet(depth=20)", "resnet(depth=34)", "resnet(depth=50)", "resnet(depth=50, stem='imagenet')"),
    "timm": ("timm(stem='small')", "timm(name='vit_tiny_patch16_224', stem='small')"),
    "vgg": ("vgg(depth=11)",),
    "vit": ("vit(width=384, depth=12, heads=6, expansion=4)",),
    "wide_resnet": ("wide_resnet(depth=28, width=10)",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure the speeds, and keep them in models.json")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each model, about (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--only", nargs="+", metavar="MODEL", help="measure these texts alone, and keep nothing")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there")
    args = parser.parse_args()
    if args.measure or args.only:
        speeds = measure_all(args.only or texts(), args.batch_size, args.seconds)
        if not args.only:
            write_json(SPEEDS, speeds)
    if args.write:
        args.write.write_text(page(json.loads(SPEEDS.read_text()) if SPEEDS.exists() else None), encoding="utf-8")
        print(f"written to {args.write}")


def texts() -> list[str]:
    """Every model of the folder as it is without options, and its variants."""
    return [text for name in names("models") for text in (name, *VARIANTS.get(name, ()))]


def measure_all(what: list[str], batch_size: int, seconds: float) -> dict[str, Any]:
    """Training images per second of each text, with what they depend on; prints as it goes."""
    keep_freed_memory()
    processor = (
        re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    )
    facts = {
        "processor": processor[1] if processor else platform.processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images_per_second": {},
    }
    for text in what:
        rate, batch = measure(text, batch_size, seconds)
        facts["images_per_second"][text] = {"rate": rate, "batch_size": batch}
        print(f"{text:<50} {rate:9.1f} images a second in batches of {batch}", flush=True)
    return facts


def measure(text: str, batch_size: int, seconds: float) -> tuple[float, int]:
    """The median rate over the steps of about so many seconds, and the batch size."""
    flops = 6 * totals(layer_table(text, CIFAR, 100))["multiply_adds"]  # of training one image
    batch = max(8, min(batch_size, int(MOST / max(1, flops)) // 8 * 8))
    torch.manual_seed(0)
    component = parse_one(text, "models")
    model = resolve(component, "models")(CIFAR, 100, **dict(component.options))
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 100
    if isinstance(model, InitFromData):
        model.init_from_data(images)
    model = model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3, momentum=0.9)
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < 3 or (time.perf_counter() - began < seconds and len(taken) < 40):
        step = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        taken.append(time.perf_counter() - step)
    return batch / statistics.median(taken[1:]), batch


def page(speeds: dict[str, Any] | None) -> str:
    """docs/models.md."""
    rates = speeds["images_per_second"] if speeds else {}
    lines = [
        "# Models",
        "",
        "`python benchmarks/models.py --write docs/models.md` writes this page; do not edit it by hand.",
        "",
        "## Families",
        "",
        "Counts are for images of 32 x 32 x 3 and 100 classes; multiply-adds are those of one image, forward.",
        '`pocketlens list models` lists the options, `pocketlens show "MODEL"` the layers.',
        "",
    ]
    if speeds:
        lines += [
            f"Images per second were measured in fp32 training on {speeds['processor']} with {speeds['threads']} "
            f"threads, torch {speeds['torch']}: `python benchmarks/models.py --measure`.",
        ]
    else:
        lines += ["Images per second: not measured yet; `python benchmarks/models.py --measure` measures them."]
    lines += ["", "| model | source | parameters | multiply-adds | images per second |", "|---|---|--:|--:|--:|"]
    for text in texts():
        sums = totals(layer_table(text, CIFAR, 100))
        rate = f"{rates[text]['rate']:,.0f}" if text in rates else ""
        lines.append(f"| `{text}` | {source(text)} | {sums['n_parameters']:,} | {sums['multiply_adds']:,} | {rate} |")
    return "\n".join([*lines, *report_lines()]) + "\n"


def report_lines() -> list[str]:
    """The table of the reports' nets."""
    lines = [
        "",
        "## Nets of the five reports",
        "",
        "If a report gives the layers or names a standard net, the count is the same. If it gives only a count, many",
        "nets have it: ours is the simplest that we found within 1 %, our reading and not the report's layers. Counts",
        "of report D include the statistics of batch norm, as Keras counts; with its body frozen, the net of row D4",
        "trains 37,907,300 parameters, those of its head. For some nets, report A gives only the approximate number",
        "of millions.",
        "",
        "| row | net | the report counts | ours | images | classes | model |",
        "|---|---|--:|--:|---|--:|---|",
    ]
    for net in REPORTS:
        own = count(net)
        off = "" if own == net.published else f" ({100 * (own / net.published - 1):+.2f} %)"
        size = " x ".join(map(str, net.shape))
        lines.append(
            f"| {net.row} | {net.name} | {net.published:,} | {own:,}{off} | {size} | {net.n_classes} | `{net.text}` |"
        )
    for row, name, text, shape, n_classes in UNCOUNTED:
        own = totals(layer_table(text, shape, n_classes))["n_parameters"]
        lines.append(f"| {row} | {name} | | {own:,} | {' x '.join(map(str, shape))} | {n_classes} | `{text}` |")
    return lines


def count(net: Net) -> int:
    """What the report counts, in our net; built without memory for its weights."""
    with torch.device("meta"):
        sums = totals(layer_table(net.text, net.shape, net.n_classes))
    return sums["n_parameters"] + (sums["n_buffers"] if net.with_statistics else 0)


def source(text: str) -> str:
    """The paper that the model's file names."""
    path = ROOT / "src/pocketlens/models" / f"{parse_one(text, 'models').name}.py"
    told = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").replace("\n", " ")
    arxiv = re.search(r"arXiv:(\d+\.\d+)", told)
    who = re.search(r"([A-Z]\w+(?: et al\.| and [A-Z]\w+)?) (\d{4})\b", told)
    name = f"{who[1]} {who[2]}" if who else "no paper"
    return f"[{name}](https://arxiv.org/abs/{arxiv[1]})" if arxiv else name


if __name__ == "__main__":
    main()
