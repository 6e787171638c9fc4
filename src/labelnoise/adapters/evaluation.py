"""What the adapters of torch's libraries share: eval mode for the time of a pass, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labelnoise.errors import InputError, described
from labelnoise.record.recorder import Recorder

if TYPE_CHECKING:
    from torch import nn


def absent_library(adapter: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The error that says which extra brings the library that an adapter lacks."""
    library = (error.name or "a library").partition(".")[0]
    return ModuleNotFoundError(f"{adapter} needs {library}; pip install 'labelnoise[adapters]'", name=error.name)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside the block; each layer has the mode that it had, afterwards."""
    import torch

    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def check_recorder(recorder: Any) -> Recorder:
    """Return a recorder, or refuse what is none."""
    if not isinstance(recorder, Recorder):
        raise InputError(f"`recorder` must be a Recorder, got {described(recorder)}; make one of the data's size")
    return recorder
