"""Our layers and Muon's Gram form against their plain forms, forward and backward, in one run.

    python benchmarks/layers.py --rounds 7

The two forms alternate; medians and their ratio are printed. Above 1, ours is faster.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pocketlens.models._layers import PooledConv2d, _StripConvolution
from pocketlens.optimizers.muon import COEFFICIENTS, orthogonalize
from pocketlens.training.device import keep_freed_memory

TINY = ((768, 512, 3), (512, 768, 3), (768, 512, 2), (512, 768, 2), (256, 192, 5))  # in, out, side of the map
POOLED = ((24, 64, 3, 31), (64, 256, 3, 15), (256, 768, 2, 7), (64, 256, 3, 11), (256, 768, 2, 5))  # with kernel
BANKS = ((512, 6912), (768, 4608), (768, 1024), (192, 2304), (256, 576))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=1024)
    args = parser.parse_args()
    keep_freed_memory()
    for c_in, out, side in TINY:
        x, weight = images(args.batch_size, c_in, side), filters(out, c_in, 3)
        compare(
            f"3 x 3, {c_in} to {out}, map of {side} px: strips against torch's convolution",
            forward_backward(lambda x=x, w=weight: _StripConvolution.apply(x, w), [x, weight]),
            forward_backward(lambda x=x, w=weight: F.conv2d(x, w, padding=1), [x, weight]),
            args.rounds,
        )
    for c_in, out, kernel, side in POOLED:
        x, layer = images(args.batch_size, c_in, side), PooledConv2d(c_in, out, kernel)
        layer.to(memory_format=torch.channels_last)
        compare(
            f"{kernel} x {kernel}, {c_in} to {out}, map of {side} px, then pool: what is kept against everything",
            forward_backward(lambda x=x, m=layer: m(x), [x, layer.weight]),
            forward_backward(lambda x=x, m=layer, k=kernel: plain_pooled(x, m.weight, k), [x, layer.weight]),
            args.rounds,
        )
    for shape in BANKS:
        matrix = torch.randn(shape)
        compare(
            f"Newton-Schulz on {shape[0]} x {shape[1]}: Gram form against the textbook's",
            lambda m=matrix: orthogonalize(m, 3),
            lambda m=matrix: textbook(m, 3),
            args.rounds,
        )


def compare(what: str, ours: Callable[[], object], plain: Callable[[], object], rounds: int) -> None:
    """Times both in turn and prints the medians."""
    taken: list[list[float]] = [[], []]
    for _ in range(rounds + 1):
        for function, times in zip((ours, plain), taken, strict=True):
            began = time.perf_counter()
            function()
            times.append(time.perf_counter() - began)
    first, second = (1000 * statistics.median(times[1:]) for times in taken)
    print(f"{what}: {first:.1f} ms against {second:.1f} ms, {second / first:.2f} times as fast", flush=True)


def forward_backward(function: Callable[[], Tensor], inputs: list[Tensor]) -> Callable[[], object]:
    """One pass forward and one backward."""
    direction = torch.randn_like(function())
    return lambda: torch.autograd.grad(function(), inputs, direction)


def images(batch: int, channels: int, side: int) -> Tensor:
    """(B, C, side, side) float32, channels last, with a gradient."""
    return torch.randn(batch, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()


def filters(out: int, c_in: int, kernel: int) -> Tensor:
    """(out, C, k, k) float32, channels last, with a gradient."""
    return (torch.randn(out, c_in, kernel, kernel) / 50).to(memory_format=torch.channels_last).requires_grad_()


def plain_pooled(x: Tensor, weight: Tensor, kernel: int) -> Tensor:
    """The whole same-padded convolution, and the pool that drops a part of it."""
    padded = F.pad(x, ((kernel - 1) // 2, kernel // 2) * 2) if kernel % 2 == 0 else x
    return F.max_pool2d(F.conv2d(padded, weight, padding=kernel // 2 if kernel % 2 else 0), 2)


def textbook(matrix: Tensor, steps: int) -> Tensor:
    """Newton-Schulz as it is usually written."""
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


if __name__ == "__main__":
    main()
