"""A setting of each type: what fits in Python, what a file gives, what the command line gives."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from labelnoise.runs.setting_types import UnfitError, setting_type


class Config:
    """Any class that is a config."""


@pytest.mark.parametrize(
    ("kind", "fitting", "others"),
    [
        (bool, [True], [1, "true", None]),
        (int, [3, np.int8(3)], [True, 3.0, "3", None]),
        (float, [3, 0.5, np.float32(0.5)], [True, "0.5", 10**400, None]),
        (str, ["", "a"], [3, b"a", None]),
        (Path, ["a", Path("a")], [3, None]),
        (Literal["a", 2], ["a", 2], ["b", 2.0, ["a"]]),
        (tuple[int, ...], [(), [3], (3, np.int8(2))], [3, ("3",), {3}]),
        (tuple[tuple[float, ...], ...], [((0.5, 1),)], [(0.5,)]),
        (float | None, [None, 2], ["a"]),
        (int | str, [3, "a"], [0.5, None]),
        (int | Literal["all"], [3, "all"], ["al", 0.5, True]),
        (Config, [Config()], [3, Config]),
    ],
)
def test_what_fits(kind, fitting, others):
    assert [setting_type(kind).fits(value) for value in fitting + others] == [True] * len(fitting) + [False] * len(
        others
    )


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "3", 3),
        (float, "-1e3", -1000.0),
        (float | None, "2", 2.0),
        (Path, "a", Path("a")),
        (Literal["a", "b"], "b", "b"),
        (int | str, "10", 10),
        (int | str, "03", "03"),
        (int | Literal["all"], "all", "all"),
    ],
)
def test_the_command_line_gives_what_fits(kind, text, value):
    taken = setting_type(kind)
    read = taken.read(taken.cut(text))
    assert read == value and type(read) is type(value) and taken.fits(read)
    many = setting_type(tuple[kind, ...])
    assert many.is_list and not taken.is_list and many.cut is taken.cut
    assert many.read([taken.cut(text)] * 2) == (value, value)


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        (int, 3.0, "must be a whole number, got 3.0; correct it"),
        (int, np.int8(3), "must be a whole number, got .*; correct it"),
        (float | None, "a", "must be a number, got 'a'; correct it"),
        (int | str, 0.5, "must be a whole number or a text, got 0.5; correct it"),
        (int | Literal["all"], "al", "must be a whole number or all, got 'al'; correct it"),
        (Literal["sgd", "adam"], "sdg", "must be one of sgd, adam, got 'sdg'; did you mean 'sgd'"),
        (Literal["sgd", "adam"], "foo", "must be one of sgd, adam, got 'foo'; choose one of these$"),
        (tuple[int, ...], 3, "must be a list, got 3; put it in brackets"),
        (tuple[int, ...], ["a"], "must be a whole number, got 'a'; correct it"),
        (Path, "", "must be a path, got ''; write one like"),
        (Path | None, "", "must be a path, got ''; write one like"),
    ],
)
def test_what_a_file_gives_is_taken_strictly(kind, value, sentence):
    with pytest.raises(UnfitError, match=f"^{sentence}"):
        setting_type(kind).read(value)
