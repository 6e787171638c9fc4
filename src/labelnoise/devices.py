"""Where torch computes: device, precision, threads. Nothing else asks the machine; torch is loaded when asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from labelnoise.errors import InputError

PRECISIONS = ("float32", "bf16", "auto")


def find_device(name: str) -> str:
    """Return the torch device that `name` stands for; `auto` is a GPU if there is one, else the CPU.

    Raises:
        InputError: this machine has no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        float(torch.zeros(1, device=name).sum())  # the device `meta` can be named, but holds no numbers
    except (RuntimeError, AssertionError, ModuleNotFoundError):  # torch built without CUDA fails an assertion
        raise InputError(
            f"`device` must be a torch device of this machine, got {name!r}; use 'auto' or 'cpu'"
        ) from None
    return name


def find_precision(name: str, device: str) -> str:
    """Return float32 or bf16: for auto, bf16 where the device computes it natively. Nothing is timed."""
    import torch

    if name != "auto":
        return name
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported()  # no public way to ask yet
    return "bf16" if native else "float32"


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Let torch use so many CPU threads inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def repeatable() -> Iterator[None]:
    """Ask cuDNN for algorithms that give the same numbers twice, and for float32 where float32 is meant."""
    import torch

    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
