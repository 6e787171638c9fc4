"""What `labelnoise explain` finds, as files of the run directory, and how alike attributions are.

An attribution gives each channel of each pixel of an image its share in one logit. `attribution.npz` holds the arrays
of `Attribution`, `attribution.json` its facts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelnoise.errors import InputError
from labelnoise.record.stopping_points import RULES
from labelnoise.runs.files import delete, digest_file, read_arrays, read_json, write_arrays, write_json

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt8


FACTS, ARRAYS = "attribution.json", "attribution.npz"


@dataclass(frozen=True, eq=False)
class Attribution:
    """Attributions of m training images (clean ones first) at E epochs, S of them in full."""

    facts: dict[str, Any]
    """`settings`; `stops`: stopping point -> epoch shown in full; `counts` of samples; `gaps`: for each epoch the
    `largest` gap between the sum of an attribution and its difference of logits, and that as a share of the mean
    absolute difference (`relative`); `versions`; `text`: all that in sentences."""
    sample: Int[np.ndarray, " m"]
    """(m,) rows of `samples.npz`."""
    reference: Int[np.ndarray, " r"]
    """(r,) rows of `samples.npz`: further clean images, which only the means of classes use."""
    background: Int[np.ndarray, " b"]
    """(b,) rows of `samples.npz`."""
    y_true: Int[np.ndarray, " m"]
    """(m,) true labels."""
    y_given: Int[np.ndarray, " m"]
    """(m,) given labels."""
    image: UInt8[np.ndarray, "m C H W"]
    """(m, C, H, W) uint8."""
    epoch: Int[np.ndarray, " E"]
    """(E,) the kept epochs, ascending."""
    logits: Float[np.ndarray, "E m outputs"]
    """(E, m, outputs) float32."""
    similarity_true: Float[np.ndarray, "E m"]
    """(E, m) cosine of a sample's attribution toward its true class and the mean of such attributions over clean
    samples of that class (explained and reference ones, the sample itself left out); see `class_similarity`."""
    similarity_given: Float[np.ndarray, "E m"]
    """(E, m) the same with the given class in place of the true one; equal for clean samples."""
    shown_epoch: Int[np.ndarray, " S"]
    """(S,) the epochs shown in full: T1 (where there is none, the held-out stop) and the last."""
    toward_true: Float[np.ndarray, "S m C H W"]
    """(S, m, C, H, W) float32 attributions toward the logit of the true class."""
    toward_given: Float[np.ndarray, "S m C H W"]
    """(S, m, C, H, W) float32 attributions toward the logit of the given class."""

    def __str__(self) -> str:
        return self.facts["text"]


def write_attribution(path: Path, attribution: Attribution) -> None:
    """Write into a run directory, in place of an earlier attribution."""
    delete(path / FACTS)  # written last: its presence says that both files belong together
    names = [field.name for field in fields(Attribution) if field.name != "facts"]
    write_arrays(path / ARRAYS, {name: getattr(attribution, name) for name in names})
    write_json(path / FACTS, {**attribution.facts, "arrays": digest_file(path / ARRAYS)})


def read_attribution(path: Path) -> Attribution:
    """Read what `labelnoise explain` wrote into a run directory.

    Raises:
        InputError: it wrote nothing there, or a file is damaged.
    """
    if not (path / FACTS).is_file():
        raise InputError(f"{path} holds no attribution ({FACTS} is missing); make it with `labelnoise explain {path}`")
    try:
        facts = read_json(path / FACTS)
        if facts.pop("arrays", None) not in (None, digest_file(path / ARRAYS)):  # None: before checksums
            raise InputError(f"{ARRAYS} does not belong to {FACTS}")
        attribution = Attribution(facts, **read_arrays(path / ARRAYS))
        stops = facts.get("stops")
        if not (isinstance(facts.get("text"), str) and isinstance(stops, dict) and set(stops) <= set(RULES)):
            raise InputError(f"{FACTS} lacks what it should say")
        if set(attribution.shown_epoch) != set(stops.values()):
            raise InputError(f"{FACTS} says other stopping points than {ARRAYS}")
        return attribution
    except (OSError, ValueError, TypeError) as error:  # of these InputError is one
        raise InputError(
            f"the attribution in {path} is damaged ({error}); make it again with `labelnoise explain {path}`"
        ) from None


def class_similarity(
    attributions: Float[np.ndarray, "m C H W"],
    rows: Int[np.ndarray, " m"],
    classes: Int[np.ndarray, " m"],
    pool: Float[np.ndarray, "p C H W"],
    pool_rows: Int[np.ndarray, " p"],
    pool_classes: Int[np.ndarray, " p"],
) -> Float[np.ndarray, " m"]:
    """Return the cosine of each attribution and the mean attribution of a class, the sample itself left out.

    cos(a_i, mean of a_j over all j of the pool with class c_i and j != i), over all channels and pixels.

    Args:
        attributions: (m, C, H, W), the a_i.
        rows: (m,) which sample each belongs to.
        classes: (m,) the class c_i that each is compared with.
        pool: (p, C, H, W) attributions of clean samples toward their class.
        pool_rows: (p,) which sample each belongs to.
        pool_classes: (p,) the class of each.

    Returns:
        (m,) cosines; NaN where the pool has no other sample of the class, or where one side is zero everywhere.
    """
    cosines = np.full(len(rows), np.nan)
    for i, (row, label) in enumerate(zip(rows, classes, strict=True)):
        others = pool[(pool_classes == label) & (pool_rows != row)]
        if len(others):
            own, mean = attributions[i].ravel().astype(float), others.mean(axis=0, dtype=float).ravel()
            scale = np.linalg.norm(own) * np.linalg.norm(mean)
            cosines[i] = own @ mean / scale if scale > 0 else np.nan
    return cosines
