"""What the adapters of torch's libraries share: how data are gone through in eval mode, states as tensors, refusals."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError, described, wants_memory
from labelnoise.record.recorder import Recorder

if TYPE_CHECKING:
    from jaxtyping import Bool
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


def check_size(recorder: Recorder, dataset: Any) -> None:
    """Refuse a data set of another size than the recorder, or one that does not give samples by their position."""
    from torch.utils.data import IterableDataset

    sized = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if not sized or isinstance(dataset, IterableDataset):
        raise InputError(
            f"the data set must give samples by position, got {described(dataset)}; give one with a length, no stream"
        )
    if (n := len(dataset)) != recorder.n_samples:
        raise InputError(
            f"`recorder` must have a place for each of the {n} samples, got {recorder.n_samples}; give the data set of "
            f"all samples, held-out ones included, or make Recorder({n}, ...)"
        )


def caller(model: nn.Module, several: bool) -> Callable[[Any], Any]:
    """How a model is given the inputs of a batch where nobody says it.

    Several inputs are its arguments in their order; so are those of a list or tuple that it cannot take as one. A dict
    whose keys all are names of its parameters goes by these names; any other input is its one argument.

    Args:
        model: the network.
        several: whether a sample of the data set has several parts before its label, so that the inputs are a list.
    """
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # compiled code may not tell
        signature = inspect.signature(lambda *inputs: None)
    named = {
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }

    def call(inputs: Any) -> Any:
        if isinstance(inputs, Mapping) and inputs.keys() <= named:
            return model(**inputs)
        pair = isinstance(inputs, list | tuple)
        apart = several or (pair and not _binds(signature, inputs) and _binds(signature, *inputs))
        return model(*inputs) if apart else model(inputs)

    return call


def _binds(signature: inspect.Signature, *arguments: Any) -> bool:
    """Whether a function of this signature can be called so."""
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


@contextmanager
def calling(call: Any, inputs: Any) -> Iterator[None]:
    """Let a call that fails for what it is given say so, and what to do.

    Raises:
        InputError: the call failed, whatever it raised; memory that is not enough is no such failure.
    """
    try:
        yield
    except Exception as error:  # of torch: RuntimeError for a shape or dtype, IndexError for a token beyond the last
        if isinstance(error, InputError) or wants_memory(error):
            raise
        said = "" if call is None else " by `call`"
        raise InputError(
            f"the model must take the inputs of a batch ({_forms(inputs)}), got an error{said} "
            f"({type(error).__name__}: {error}); let the data set give what the model takes, its label last, or say "
            "how it is called, for example call=lambda inputs: model(**inputs) for a dict, model(*inputs) for several"
        ) from error


def _forms(inputs: Any) -> str:
    """Type and shape of each tensor of a batch's inputs."""
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name}: {_forms(value)}" for name, value in inputs.items())
    if isinstance(inputs, list | tuple):
        return " and ".join(map(_forms, inputs))
    return described(inputs)


def logits_of(outputs: Any) -> Any:
    """The logits among what a model returns: its output, or the first one; in a mapping, the one of that name."""
    outputs = getattr(outputs, "logits", outputs)
    if isinstance(outputs, Mapping):
        if "logits" not in outputs:
            raise InputError(f"the model must return `logits`, got {', '.join(map(str, outputs))}; name them so")
        return outputs["logits"]
    return outputs[0] if isinstance(outputs, tuple) else outputs


def in_order(n: int, size: int) -> list[np.ndarray]:
    """Positions of all n samples in parts of a size, the last one smaller."""
    everyone = np.arange(n)
    return np.split(everyone, everyone[size::size])


def mixed(trained: Bool[np.ndarray, " n"], size: int) -> list[np.ndarray]:
    """Positions of the samples that were trained on, mixed, in equal parts: what batch norm takes its statistics from.

    Many data are sorted by class; and a part of one sample has no variance, so parts are of two at least.
    """
    order = stream(0, "evaluation").permutation(np.flatnonzero(trained))
    parts = min(-(-len(order) // size), len(order) // 2)
    return np.array_split(order, max(parts, 1)) if order.size else []


def of_each_tensor(change: Callable[[Any], Any], inputs: Any) -> Any:
    """Return inputs with each tensor changed, also those in dicts, lists and tuples."""
    if isinstance(inputs, Mapping):
        return {name: of_each_tensor(change, value) for name, value in inputs.items()}
    if isinstance(inputs, list | tuple):
        return [of_each_tensor(change, value) for value in inputs]
    return change(inputs) if hasattr(inputs, "device") else inputs


def to_device(inputs: Any, device: Any) -> Any:
    """Return inputs on a device."""
    return of_each_tensor(lambda tensor: tensor.to(device), inputs)


def as_tensors(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with its arrays as tensors, which torch reads back without running code."""
    import torch

    return {name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in state.items()}
