"""fp32 against bf16 on this CPU: the layers of the default recipe, and its whole training step at 20, 24 and 32 px.

    python benchmarks/precision.py --rounds 5

All forms take turns in one process; medians of processor time are printed, on which other work on the machine has
little influence, and ratios to fp32 (above 1: faster). A layer is timed forward and backward, in GFLOP/s of a core and
of the convolution as it is written: products with padding count, though blocks skip them.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.split import make_split
from pocketlens.events import Progress
from pocketlens.models import _layers
from pocketlens.models._bf16 import by_blocks, by_patches
from pocketlens.recipe import Experiment, Recipe
from pocketlens.training.device import has_bf16, keep_freed_memory, leave_compiler_out
from pocketlens.training.fit import fit
from pocketlens.training.state import State

LAYERS = (  # in, out, kernel, side of the map: at 32 px, then the tiny maps at 24 and 20 px
    *((24, 64, 3, 31), (64, 64, 1, 15), (64, 256, 3, 15), (256, 192, 3, 7), (192, 256, 1, 7), (256, 768, 2, 7)),
    *((768, 512, 3, 3), (512, 768, 3, 3), (256, 192, 3, 5), (256, 768, 2, 5), (256, 192, 3, 4), (768, 512, 3, 2)),
)
FORMS = ("fp32", "bf16, torch's convolutions", "bf16, products")  # of the whole step
SIZES = (20, 24, 32)
Form = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--layers", action="store_true", help="the layers alone")
    parser.add_argument("--steps", action="store_true", help="the whole steps alone")
    args = parser.parse_args()
    keep_freed_memory()
    leave_compiler_out()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, bf16: {has_bf16('cpu')}")
    if not args.steps:
        products(args.rounds)
        print(
            "| layer | torch fp32 | torch bf16 | patches bf16 | blocks bf16 | strips fp32 |\n|---|---|---|---|---|---|"
        )
        for layer in LAYERS:
            print(layer_line(*layer, args.batch_size // 2, args.rounds), flush=True)
    if not args.layers:
        print(f"\n| size | {' | '.join(FORMS)} |\n|---|---|---|---|")
        for size in SIZES:
            print(step_line(size, args.batch_size, args.rounds), flush=True)


def products(rounds: int) -> None:
    """GFLOP/s of a matrix product in both precisions."""
    n = 3072
    a, b = torch.randn(n, n), torch.randn(n, n)
    low = a.bfloat16(), b.bfloat16()
    speeds = [2 * n**3 / each / 1e9 for each in in_turns([lambda: a @ b, lambda: low[0] @ low[1]], rounds)]
    print(f"product of {n} x {n}: fp32 {speeds[0]:.0f}, bf16 {speeds[1]:.0f} GFLOP/s\n")


def layer_line(c_in: int, out: int, kernel: int, side: int, batch: int, rounds: int) -> str:
    """A layer in all its forms."""
    pad = (kernel - 1) // 2
    x = torch.randn(batch, c_in, side, side).to(memory_format=torch.channels_last)
    weight = (torch.randn(out, c_in, kernel, kernel) / 50).to(memory_format=torch.channels_last)
    low = x.bfloat16(), weight.bfloat16()
    known: dict[str, Form] = {
        "torch fp32": forward_backward(lambda x, w: F.conv2d(x, w, padding=pad), x, weight),
        "torch bf16": forward_backward(lambda x, w: F.conv2d(x, w, padding=pad), *low),
        "patches bf16": forward_backward(lambda x, w: by_patches(F.pad(x, (pad,) * 4), w), *low),
    }
    if kernel % 2 and kernel > 1 and side <= 7:
        known["blocks bf16"] = forward_backward(by_blocks, *low)
        known["strips fp32"] = forward_backward(lambda x, w: _layers._StripConvolution.apply(x, w), x, weight)
    taken = dict(zip(known, in_turns(list(known.values()), rounds), strict=True))
    flop = 6 * batch * c_in * out * kernel**2 * (side + 2 * pad - kernel + 1) ** 2
    names = ("torch fp32", "torch bf16", "patches bf16", "blocks bf16", "strips fp32")
    cells = [f"{flop / taken[name] / 1e9:.0f}" if name in taken else "" for name in names]
    return f"| {c_in} to {out}, {kernel} x {kernel}, {side} px | {' | '.join(cells)} |"


def step_line(size: int, batch: int, rounds: int) -> str:
    """The whole step of the default recipe in all its forms: augmentation, loss and optimizer included."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (2 * batch, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(len(pixels), dtype=np.int64) % 100
    data = Dataset("made", pixels, labels, tuple(map(str, range(100))), hash_images(pixels))
    recipe = Recipe().changed(sizes=f"{size}" if size < 32 else "100%", batch_size=batch, epochs=1000.0, lr=0.01)
    low = recipe.changed(precision="bf16")
    split = make_split(data, val_fraction=0.0)
    loops = [fit(State(Experiment("made", each, val_fraction=0.0), data, split, "cpu")) for each in (recipe, low, low)]

    def step(number: int) -> None:
        plain = mock.patch.multiple(_layers, BLOCK_SIDE=0, PATCH_SIDE=0)
        if number == 1:
            with plain:
                _next_step(loops[number])
        else:
            _next_step(loops[number])

    taken = in_turns([lambda n=n: step(n) for n in range(3)], rounds)  # type: ignore[misc]
    cells = [f"{1000 * each:.0f} ms ({taken[0] / each:.2f})" for each in taken]
    return f"| {size} px | {' | '.join(cells)} |"


def _next_step(loop: object) -> None:
    while not isinstance(next(loop), Progress):  # type: ignore[call-overload]
        pass


def forward_backward(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> Form:
    """One pass forward and one backward."""
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    direction = torch.ones_like(function(x, weight))
    return lambda: torch.autograd.grad(function(x, weight), (x, weight), direction)


def in_turns(forms: list[Form], rounds: int) -> list[float]:
    """Median seconds of processor time of each form; all take turns, and the first round does not count."""
    taken: list[list[float]] = [[] for _ in forms]
    for number in range(rounds + 1):
        for form, times in zip(forms, taken, strict=True):
            began = time.process_time()
            form()
            if number:
                times.append(time.process_time() - began)
    return [statistics.median(times) for times in taken]


if __name__ == "__main__":
    main()
