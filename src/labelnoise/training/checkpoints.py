"""Checkpoints of a training run: the state from which it goes on, and the weights of the epochs that are kept.

`checkpoints/state.pt` holds everything that the rest of the run depends on; it goes when the run is finished.
`checkpoints/epoch-0012.pt` holds the weights after epoch 12, `checkpoints/averaged.pt` the average that a stopped run
returns. All are read with `weights_only=True`: no code runs.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from labelnoise.errors import InputError
from labelnoise.runs.files import delete, digest, digest_file, write_bytes

FOLDER, STATE, AVERAGED = "checkpoints", "state.pt", "averaged.pt"


def weights_name(epoch: int) -> str:
    """Return the name of a file of weights within a run directory."""
    return f"{FOLDER}/epoch-{epoch:04d}.pt"


def kept_epochs(folder: Path) -> list[int]:
    """Return the epochs whose weights a run directory holds, ascending."""
    names = (re.fullmatch(r"epoch-(\d+)\.pt", file.name) for file in (folder / FOLDER).glob("epoch-*.pt"))
    return sorted(int(name[1]) for name in names if name)


def write_weights(folder: Path, epoch: int, model: nn.Module) -> str:
    """Write the weights of `model` as those after `epoch`, and return the checksum of the file."""
    return write_tensors(folder / weights_name(epoch), model.state_dict())


def write_averaged(folder: Path, model: nn.Module) -> None:
    """Write the weights of `model` as the average that a stopped run returns."""
    write_tensors(folder / FOLDER / AVERAGED, model.state_dict())


def read_weights(folder: Path, epoch: int) -> dict[str, torch.Tensor]:
    """Read the weights after `epoch`, on the CPU.

    Raises:
        InputError: they were not kept, or the file is damaged.
    """
    path = folder / weights_name(epoch)
    if not path.is_file():
        kept = ", ".join(map(str, kept_epochs(folder))) or "none"
        raise InputError(f"{folder} must hold the weights of epoch {epoch}, got those of epochs {kept}; train it again")
    return read_tensors(path)


def check_weights(folder: Path, checksums: Mapping[int, str]) -> None:
    """Refuse weights that are not those that were written; those that were deleted are no matter.

    Args:
        folder: the run directory.
        checksums: of the files, by epoch.

    Raises:
        InputError: names the first such file.
    """
    for epoch in set(kept_epochs(folder)) & set(checksums):
        path = folder / weights_name(epoch)
        if digest_file(path) != checksums[epoch]:
            raise InputError(f"{path} is damaged or was changed; delete {path.parent} and train again")


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a file of weights, such as a run's `checkpoints/epoch-0012.pt`, into `model`.

    Raises:
        InputError: there is no such file, it is damaged, or it belongs to another network.
    """
    if not path.is_file():
        raise InputError(f"no file at {path}; give the path of weights, such as RUN/checkpoints/epoch-0012.pt")
    content = read_tensors(path)
    entries = content["weights"] if isinstance(content.get("weights"), dict) else content  # or of a whole state
    weights = {name: value for name, value in entries.items() if isinstance(value, torch.Tensor)}
    difference = shapes_difference(shapes_of(weights), shapes_of(model.state_dict()))
    if difference:
        raise InputError(
            f"{path} must hold weights of this network, but {difference}; choose the network they belong to"
        )
    model.load_state_dict(weights)


def keep_weights(folder: Path, epochs: Collection[int]) -> None:
    """Delete the weights of all other epochs."""
    for epoch in kept_epochs(folder):
        if epoch not in epochs:
            delete(folder / weights_name(epoch))


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the state from which a run goes on."""
    write_tensors(folder / FOLDER / STATE, state)


def read_state(folder: Path) -> dict[str, Any] | None:
    """Read the state from which a run goes on, on the CPU; None if there is none.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / FOLDER / STATE
    return read_tensors(path) if path.is_file() else None


def shapes_of(weights: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the shape of each tensor by name: what tells one network from another."""
    return {name: list(value.shape) for name, value in weights.items() if isinstance(value, torch.Tensor)}


def shapes_difference(saved: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Say where two networks differ first; empty if they are alike."""
    for name in [*own, *saved]:
        if saved.get(name) != own.get(name):
            return f"`{name}` is {saved.get(name, 'absent')} there, {own.get(name, 'absent')} here"
    return ""


def write_tensors(path: Path, content: Mapping[str, Any]) -> str:
    """Write tensors and plain values to a file, whole or not at all, and return its checksum."""
    buffer = io.BytesIO()  # torch's own writer turns a full disk into an error of another kind
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())
    return digest(buffer.getbuffer())


def read_tensors(path: Path) -> dict[str, Any]:
    """Read what `write_tensors` wrote, on the CPU.

    Raises:
        InputError: it is damaged, or anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # torch does not look at the checksums of its own archive
                raise zipfile.BadZipFile
        content = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise InputError(f"{path} could not be read; check its permissions") from None
    except Exception:  # what torch raises on a damaged file has no common kind
        content = None
    if not isinstance(content, dict):
        raise InputError(
            f"{path} is damaged or no checkpoint; give another file, or delete it and train again what it held"
        ) from None
    return content
