"""Which classes and images of a source are used, and the labels that a file gives them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelnoise.arrays import stream
from labelnoise.errors import InputError, did_you_mean, first_few
from labelnoise.images.source import Source
from labelnoise.noise.files import FromFile


def choose_images(source: Source, chosen: tuple[int, ...], per_class: int | None, seed: int) -> np.ndarray:
    """Rows of the training images to use, ascending: all of the chosen classes, or `per_class` drawn of each."""
    labels = source.y_train
    if per_class is None:
        return np.flatnonzero(np.isin(labels, chosen))
    rank = stream(seed, "subset").random(labels.size)
    rows = []
    for class_id in chosen:
        members = np.flatnonzero(labels == class_id)
        if members.size < per_class:
            raise InputError(
                f"`per_class` must be at most the number of training images of each class, got {per_class} but "
                f"{_called(source, class_id)} has {members.size}; use for example {members.size}"
            )
        rows.append(members[np.argsort(rank[members])[:per_class]])
    return np.sort(np.concatenate(rows))


def read_given(noise: FromFile, source: Source, keep: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
    """Given class ids of the rows to keep, out of a file in the source's order."""
    given, true = noise.read(source.size)
    given = given[source.position]
    _check_order(noise.path, source, given, None if true is None else true[source.position])
    outside = np.flatnonzero(~np.isin(given[keep], chosen))
    if outside.size:
        row = keep[outside[0]]
        raise InputError(
            f"{noise.path} must give labels among the chosen classes {_listing(chosen)}, got {given[row]} at "
            f"position {source.position[row]} ({outside.size} in all); use all classes, or correct the file"
        )
    return given[keep]


def _check_order(path: str, source: Source, given: np.ndarray, true: np.ndarray | None) -> None:
    """Refuse a label file in another order: its true labels differ, or the given ones agree by chance only."""
    if true is not None:
        wrong = np.flatnonzero(true != source.y_train)
        if wrong.size:
            raise InputError(
                f"{path} must be in the order of the data, but at position {source.position[wrong[0]]} its true label "
                f"is {true[wrong[0]]} and the data's {source.y_train[wrong[0]]}; sort it as the data"
            )
        return
    n, ids = len(given), np.unique(source.y_train)
    chance = sum(float(np.mean(given == k) * np.mean(source.y_train == k)) for k in ids)
    agreement = float(np.mean(given == source.y_train))
    least = min(chance + 5 * np.sqrt(chance * (1 - chance) / n), 1.0)  # 5 standard errors of a shuffled file
    if agreement < least:
        raise InputError(
            f"{path} must agree with {least:.3f} of the {n} true labels to be told from a file in another order "
            f"({chance:.3f}), got {agreement:.3f}; sort it as the data, or vouch for it by the true labels as `y_true` "
            "in the same .npz file"
        )


def choose_classes(source: Source, classes: Sequence[int | str] | None) -> tuple[int, ...]:
    """Class ids in the order asked for, each present in both parts."""
    parts = {"training": source.y_train, "test": source.y_test}
    held = {part: np.unique(labels).tolist() for part, labels in parts.items()}
    known = sorted(set(held["training"]) | set(held["test"]))
    given = known if classes is None else list(classes)
    chosen = tuple(given if classes is None else _class_ids(source, known, given))
    if len(set(chosen)) != len(chosen):
        raise InputError(f"`classes` must differ from each other, got {_listing(given)}; list each one once")
    if len(chosen) < 2:
        raise InputError(f"`classes` must be two or more, got {chosen}; the data holds {_listing(known)}")
    for part, present in held.items():
        absent = [class_id for class_id in chosen if class_id not in present]
        if absent:
            raise InputError(
                f"each class must be in both parts, but {_called(source, absent[0])} has no {part} image; leave it out"
            )
    return chosen


def _class_ids(source: Source, known: list[int], classes: list[int | str]) -> list[int]:
    """The ids of classes: by name where all are names, even 3 of folders called 3 and 7; else each by what it is."""
    if all(str(name) in source.names for name in classes):
        return [source.names.index(str(name)) for name in classes]
    wrong = [name for name in classes if not (isinstance(name, str) and name in source.names or _is_id(name, known))]
    if wrong:
        name = min(wrong, key=lambda name: str(name) in source.names)  # rather what is neither id nor name
        raise InputError(f"`classes` must be ids among {_listing(known)}{_remedy(source, name)}")
    return [int(name) if _is_id(name, known) else source.names.index(str(name)) for name in classes]


def _is_id(name: int | str, known: list[int]) -> bool:
    return isinstance(name, int | np.integer) and not isinstance(name, bool) and name in known


def _remedy(source: Source, name: int | str) -> str:
    """What to give in place of a class that is none."""
    if not source.names:
        return f", got {name!r}; these classes have no names, give ids with spaces between them"
    near = "; give all of them by name" if str(name) in source.names else did_you_mean(str(name), source.names)
    return f", or names, got {name!r}{near}"


def _called(source: Source, class_id: int) -> str:
    """A class for a message."""
    return f"class {class_id}" + (f" ({source.names[class_id]})" if source.names else "")


def _listing(classes: Sequence[int | str]) -> str:
    """Classes for a message, cut where a list of them helps nobody."""
    return first_few([str(class_id) for class_id in classes], most=20)


def positions(labels: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
    """Positions 0..K-1 of class ids that are all among `chosen`."""
    order = np.argsort(chosen)
    return order[np.searchsorted(np.asarray(chosen)[order], labels)]
