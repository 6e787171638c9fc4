"""The most suspicious samples as a page shows them: fields, text or thumbnail, and neighbours that disagree."""

from __future__ import annotations

import base64
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from labelnoise.audit.encoding import as_numbers

if TYPE_CHECKING:
    from labelnoise.audit.judging import Verdict
    from labelnoise.audit.materials import Material
    from labelnoise.audit.sources import AuditSource

LONGEST = 300
"""Letters of a text, or of a field, that a page shows."""
DIGITS = 6
"""Digits of a number with a fraction that a page shows."""
FIELDS = 8
"""Fields of a row that a page shows."""
NEIGHBOURS = 10


def describe_worst(
    source: AuditSource, material: Material | None, verdict: Verdict, names: list[str], top: int
) -> dict[str, Any]:
    """Return the `top` most suspicious samples, each a table of what is shown of it.

    Args:
        source: the data.
        material: its samples, made ready for training; None where there is a record instead.
        verdict: of each sample.
        names: of the classes.
        top: how many; flagged ones come first in the list as they do in `suspects.csv`.
    """
    frame = verdict.to_frame().head(top)
    at = frame["index"].to_numpy()
    near = _neighbours(material, verdict, at)
    fields = [] if source.rows is None else _varying(source)
    rows = []
    for place, (position, given, suggested, _, chance, flagged) in enumerate(frame.itertuples(index=False)):
        row = {
            "index": int(position if source.index is None else source.index[position]),
            "given": names[given],
            "suggested": names[suggested],
            "confidence": float(chance),
            "flagged": bool(flagged),
            **_looks(source, position, fields),
        }
        if source.ids is not None:
            row["id"] = _written(source.ids.iloc[position])
        if near is not None:
            labels, other = near[place]
            row["neighbours"] = {
                "number": len(labels),
                "given": int((labels == given).sum()),
                "suggested": int((labels == suggested).sum()),
                **_nearest(source, other),
                "nearest_label": names[verdict.given[other]],
            }
        rows.append(row)
    return {"rows": rows} if source.ids is None else {"id": str(source.ids.name), "rows": rows}


def _looks(source: AuditSource, position: int, fields: list[str]) -> dict[str, Any]:
    """What a person sees of a sample: its file, its fields, its image."""
    looks: dict[str, Any] = {}
    if source.files is not None:
        looks["file"] = source.files[position]
    if source.rows is not None:
        values = source.rows.iloc[position]
        looks["fields"] = [[name, _written(value)] for name, value in _shown(values, fields)]
    if source.images is not None:
        looks["image"] = _thumbnail(source.images[position])
    return looks


def _written(value: Any) -> str:
    """A value as a page shows it; an empty text where there is none."""
    missing = value is None or value is pd.NA or value != value
    if missing:
        return ""
    return _short(float(value)) if isinstance(value, float | np.floating) else str(value)[:LONGEST]


def _short(value: float) -> str:
    """A number of so many digits, and of all that stand before the point."""
    places = DIGITS - 1 - math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
    return str(round(value, max(places, 0)))


def _nearest(source: AuditSource, other: int) -> dict[str, Any]:
    """Where the nearest sample with another label stands in the data, and its text, where it is one."""
    nearest: dict[str, Any] = {"nearest": int(other) if source.index is None else int(source.index[other])}
    if source.ids is not None:
        nearest["nearest_id"] = _written(source.ids.iloc[other])
    if source.rows is not None and source.rows.shape[1] == 1:
        nearest["text"] = _written(source.rows.iloc[other, 0])
    return nearest


def _varying(source: AuditSource) -> list[str]:
    """The first fields that are not the same for all; one that is alone in any case."""
    assert source.rows is not None
    head, alone = source.rows.head(1000), source.rows.shape[1] == 1
    return [str(name) for name in head if alone or head[name].nunique(dropna=False) > 1][:FIELDS]


def _shown(values: pd.Series, fields: list[str]) -> list[tuple[str, Any]]:
    """Fields and values of a row; a table without names counts its columns."""
    return [(name, value) for name, value in zip(map(str, values.index), values, strict=True) if name in fields]


def _thumbnail(image: np.ndarray) -> str:
    """An image (C, H, W) as the data address of a PNG."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else np.moveaxis(image, 0, 2)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _neighbours(material: Material | None, verdict: Verdict, at: np.ndarray) -> list[tuple[np.ndarray, int]] | None:
    """Of each sample, the labels of its nearest ones, and the nearest of all that bears another label than its own.

    Nearest by the distance of standardised columns, of texts by the cosine of TF-IDF. Images are left out: pixels that
    are near do not look alike.
    """
    if material is None or material.kind == "image":
        return None
    if material.kind == "text":
        distances = 1 - (material.tfidf[at] @ material.tfidf.T).toarray()
    else:
        distances = _distances(as_numbers(material), at)
    distances[np.arange(at.size), at] = np.inf
    neighbours = []
    for row, own in zip(distances, verdict.given[at], strict=True):
        nearest = np.argsort(row, kind="stable")[: min(NEIGHBOURS, row.size - 1)]
        other = np.where(verdict.given == own, np.inf, row)
        neighbours.append((verdict.given[nearest], int(np.argmin(other))))
    return neighbours


def _distances(vectors: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Squared distances (top, n) of standardised columns, without a copy of the whole."""
    mean, std = vectors.mean(axis=0), vectors.std(axis=0)
    std = np.where(std > 0, std, 1)
    chosen = (vectors[at] - mean) / std
    blocks = []
    for start in range(0, len(vectors), 4096):
        part = (vectors[start : start + 4096] - mean) / std
        blocks.append((part**2).sum(axis=1)[None] - 2 * chosen @ part.T)
    return np.concatenate(blocks, axis=1) + (chosen**2).sum(axis=1)[:, None]
