"""Label noise in the words of the command line: `kind:values[:exact]`, or `file:PATH[:KEY]`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from labelnoise.errors import InputError, did_you_mean
from labelnoise.noise.features import FeatureNoise, InstanceDependent, SubclassDominant
from labelnoise.noise.files import FromFile, read_numbers
from labelnoise.noise.models import ClassConditional, LabelNoise, Matrix, Pair, Symmetric

Model = TypeVar("Model", bound=LabelNoise | FeatureNoise)


def parse_noise(text: str) -> LabelNoise | FeatureNoise | FromFile | None:
    """Read a model from the command line's form `kind:values[:exact]`, or `file:PATH[:KEY]`.

    Example:
        >>> parse_noise("symmetric:0.2")
        Symmetric(rate=0.2, include_true=False, exact=False)
        >>> parse_noise("class-conditional:0.1,0.3:exact")
        ClassConditional(tau_plus=0.1, tau_minus=0.3, exact=True)
        >>> parse_noise("none") is None
        True
    """
    if not isinstance(text, str):
        raise InputError(
            f"label noise must be text of the form kind:values, got {text!r}; write it like 'symmetric:0.2'"
        )
    kind, _, rest = text.partition(":")
    if kind not in FORMS:
        raise InputError(f"label noise must be of the form kind:values, got {text!r}{did_you_mean(kind, FORMS)}")
    build, *examples = FORMS[kind]
    try:
        return build(rest)
    except InputError:
        raise
    except (TypeError, ValueError):
        like = " or ".join(map(repr, examples))
        raise InputError(f"label noise {text!r} could not be read; write it like {like}") from None


def _numbers(model: Callable[..., Model], **options: bool) -> Callable[[str], Model]:
    def build(rest: str) -> Model:
        values, _, word = rest.partition(":")
        if word not in ("", "exact"):
            raise ValueError(word)
        return model(*map(float, values.split(",")), **options, exact=bool(word))

    return build


def _none(rest: str) -> None:
    if rest:
        raise ValueError(rest)


def _matrix(rest: str) -> Matrix:
    if not rest:
        raise ValueError(rest)
    return Matrix(read_numbers(Path(rest), "matrix")["matrix"])


def _from_file(rest: str) -> FromFile:
    if not rest:
        raise ValueError(rest)
    path, colon, key = rest.rpartition(":")
    return FromFile(path, key) if colon and path.endswith(".npz") else FromFile(rest)


FORMS: dict[str, tuple[Callable[[str], LabelNoise | FeatureNoise | FromFile | None], *tuple[str, ...]]] = {
    "none": (_none, "none"),
    "symmetric": (_numbers(Symmetric), "symmetric:0.2", "symmetric:0.2:exact"),
    "symmetric-including-true": (_numbers(Symmetric, include_true=True), "symmetric-including-true:0.2"),
    "class-conditional": (
        _numbers(ClassConditional), "class-conditional:0.1,0.3", "class-conditional:0.1,0.3:exact",
    ),
    "pair": (_numbers(Pair), "pair:0.2", "pair:0.2:exact"),
    "instance": (_numbers(InstanceDependent), "instance:0.2", "instance:0.2:exact"),
    "subclass": (_numbers(SubclassDominant), "subclass:0.2", "subclass:0.2:exact"),
    "matrix": (_matrix, "matrix:T.csv"),
    "file": (_from_file, "file:labels.npz", "file:labels.npz:y_given"),
}  # fmt: skip
"""Each kind of label noise by the name the command line uses: how to read it, and examples."""
