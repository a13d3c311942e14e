"""Devices: checks, deterministic kernels, and a record of the environment that results depend on."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pocketlens.errors import PocketlensError


def check_device(device: str, precision: str) -> None:
    """Makes sure that a device is present and supports a precision.

    Raises:
        PocketlensError: it is not, or does not.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise PocketlensError("--device cuda needs a CUDA device, and torch finds none; leave --device out.")
    if device.startswith("mps") and not torch.backends.mps.is_available():
        raise PocketlensError("--device mps needs an Apple GPU, and torch finds none; leave --device out.")
    if precision == "bf16" and not has_bf16(device):
        raise PocketlensError(
            f"precision bf16 needs hardware with bf16 arithmetic, {device} has none; use fp32: --precision fp32."
        )


def precision_here(device: str, precision: str) -> str:
    """The precision in which a run goes on that was begun elsewhere: fp32 where this device has no bf16."""
    return precision if has_bf16(device) else "fp32"


def use_deterministic_kernels(device: str) -> None:
    """On CUDA, makes torch use deterministic kernels, in this process from now on; a CPU's are deterministic anyway.

    Otherwise cuDNN and cuBLAS may choose another algorithm each time, and sums depend on the order in which threads
    finish. Where torch has no deterministic kernel, it uses the other one.
    Source: https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    if not device.startswith("cuda"):
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it
    torch.use_deterministic_algorithms(True, warn_only=True)
    warnings.filterwarnings("ignore", ".* does not have a deterministic implementation.*", UserWarning)


def has_bf16(device: str) -> bool:
    """Whether the device has bf16 arithmetic (on a CPU: avx512_bf16 or amx_bf16)."""
    if device.startswith("cuda"):
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.startswith("cpu"):
        try:
            flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
        except OSError:
            return False
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False


def environment(device: str = "cpu", processes: int = 1) -> dict[str, Any]:
    """What results may depend on: versions, processor, device, threads, processes; on CUDA also the GPU's name."""
    on_cuda = device.startswith("cuda") and torch.cuda.is_available()
    return {
        "pocketlens": version("pocketlens"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # processors of one name may have different ones
        "cores": os.cpu_count(),
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": processes,  # ranks of the training
        **({"gpu": torch.cuda.get_device_name(device)} if on_cuda else {}),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of <malloc.h>


@cache
def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory instead of returning it to the system, once; returns whether it took effect."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False  # another C library
    wanted = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28))
    return all(mallopt(option, value) == 1 for option, value in wanted)


def leave_compiler_out() -> None:
    """Lets torch make optimizers without its compiler, whose import takes about as long as that of torch itself.

    torch marks some methods of optimizers as not to be compiled when they are first called, and imports the compiler
    for that. Here they are marked before, as nothing of them is compiled; a torch without such marks stays as it is.
    """
    if "torch._dynamo" in sys.modules:
        return
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if method is not None:
            method.__dict__.setdefault("__dynamo_disable", method)


def prepare_machine(device: str = "auto", threads: int | None = None) -> str:
    """Sets the number of torch's CPU threads, where one is given, and returns the name of the device to compute on.

    `auto` takes the first of cuda, mps and cpu that this machine has.

    Raises:
        PocketlensError: this machine has no such device.
    """
    leave_compiler_out()
    if threads is not None:
        torch.set_num_threads(threads)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(device, False):
        usable = ", ".join(name for name, is_there in there.items() if is_there)
        raise PocketlensError(f"--device must be one that this machine has ({usable}), got {device}.")
    return device
