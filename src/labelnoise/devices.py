"""Where torch computes: device, precision, threads. Nothing else asks the machine; torch is loaded when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelnoise.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from types import ModuleType

PRECISIONS = ("float32", "bf16", "auto")
CPU_INFO = Path("/proc/cpuinfo")
"""Where Linux says what the processor can do."""


def find_device(name: str) -> str:
    """Return the torch device that `name` stands for; `auto` is a GPU if there is one, else the CPU.

    Raises:
        InputError: this machine has no such device.
    """
    import torch

    if isinstance(name, str) and name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if not isinstance(name, str):  # torch takes None and numbers, too
            raise TypeError
        float(torch.zeros(1, device=name).sum())  # the device `meta` can be named, but holds no numbers
    except (TypeError, RuntimeError, AssertionError, ModuleNotFoundError):  # torch without CUDA fails an assertion
        wanted = str(name).replace("gpu", "cuda")  # gpu is nearer to cpu
        near = did_you_mean(wanted, ["auto", "cpu", *["cuda"] * torch.cuda.is_available()])
        raise InputError(f"`device` must be a torch device of this machine, got {name!r}{near}") from None
    return name


def find_precision(name: str, device: str) -> str:
    """Return float32 or bf16: for auto, bf16 where the device computes it natively. Nothing is timed.

    Raises:
        InputError: another name, or a device that this machine has not.
    """
    import torch

    if not isinstance(name, str) or name not in PRECISIONS:
        near = did_you_mean(str(name), PRECISIONS)
        raise InputError(f"`precision` must be one of {', '.join(PRECISIONS)}, got {name!r}{near}")
    if name != "auto":
        return name
    kind = torch.device(find_device(device)).type
    if kind == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = kind == "cpu" and _has_bf16()
    return "bf16" if native else "float32"


def _has_bf16() -> bool:
    """Whether Linux says that the processor computes in bfloat16; elsewhere nobody does."""
    try:
        return "avx512_bf16" in CPU_INFO.read_text().split()
    except OSError:
        return False


MOST_THREADS = 1024
"""CPU threads from which on torch gives up, or the machine."""


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Let torch use so many CPU threads inside the block.

    Raises:
        InputError: more than any machine can run.
    """
    import torch

    if number > MOST_THREADS:
        raise InputError(f"`threads` must be at most {MOST_THREADS}, got {number}; one a core is enough")
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def repeatable() -> Iterator[None]:
    """Ask cuDNN for algorithms that give the same numbers twice, and for float32 where float32 is meant.

    Whatever the caller allowed (TF32, bfloat16 in products of float32 matrices) is allowed again afterwards.
    """
    import torch

    switches = _switches(torch.backends)
    before = [_readable(partial(getattr, owner, name)) for owner, name, _ in switches]
    products = _readable(torch.get_float32_matmul_precision)
    try:
        torch.set_float32_matmul_precision("highest")
        for owner, name, value in switches:
            setattr(owner, name, value)
        yield
    finally:
        if products:
            torch.set_float32_matmul_precision(products)
        for (owner, name, _), value in zip(switches, before, strict=True):
            if value is not None:
                setattr(owner, name, value)


def _switches(backends: ModuleType) -> list[tuple[Any, str, Any]]:
    """Owner, name and value of torch's switches; those by operation, of torch 2.9 and later, overrule and come last."""
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    parts = [(owner, name) for owner in (cudnn, mkldnn) for name in ("conv", "rnn")] + [(mkldnn, "matmul")]
    operations = [backends.cuda.matmul, *(getattr(owner, name, None) for owner, name in parts)]
    return [
        (cudnn, "enabled", True),
        (cudnn, "benchmark", False),
        (cudnn, "deterministic", True),
        (cudnn, "allow_tf32", False),
        *((operation, "fp32_precision", "ieee") for operation in operations if hasattr(operation, "fp32_precision")),
    ]


def _readable(read: Callable[[], Any]) -> Any:
    """The value of a switch; None where torch refuses to tell, because its newer switches say otherwise."""
    try:
        return read()
    except RuntimeError:
        return None
