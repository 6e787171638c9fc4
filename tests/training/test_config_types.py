"""Every field of a config is checked for its type, by its annotation."""

from dataclasses import dataclass, fields
from typing import Literal, get_args, get_type_hints

import numpy as np
import pytest

from labelnoise.errors import InputError
from labelnoise.runs.setting_types import check_types
from labelnoise.training.attribution_methods import COMPUTE
from labelnoise.training.config import SCHEDULES, ExplainConfig, TrainConfig
from labelnoise.training.optimizers import BUILDERS

FIELDS = [(config, field.name) for config in (TrainConfig, ExplainConfig) for field in fields(config)]


@pytest.mark.parametrize(("config", "name"), FIELDS)
@pytest.mark.parametrize("value", [object(), None, b"x", ["x"], {"a": 1}, 1j], ids=lambda value: type(value).__name__)
def test_a_value_of_no_known_type_is_refused(config, name, value):
    with pytest.raises(InputError, match=f"^`{name}` must "):
        config(**{name: value})


@pytest.mark.parametrize(("config", "name"), FIELDS)
def test_text_is_no_number_and_a_number_no_text(config, name):
    text = isinstance(getattr(config, name), str)
    for value in (3, 0.5, True) if text else ("x", "0.1", "3", "no", ""):
        with pytest.raises(InputError, match=f"^`{name}` must "):
            config(**{name: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": "no"}, "`augment` must be True or False, got 'no'; use for example augment=False"),
        ({"augment": 1}, "`augment` must be True or False, got 1"),
        ({"device": 3}, "`device` must be a text, got 3; use for example device='auto'"),
        ({"optimizer": ["sgd"]}, r"`optimizer` must be one of sgd, adam, adamw, got \['sgd'\]"),
        ({"schedule": {}}, "`schedule` must be one of constant, step, multi-step, cosine, got {}"),
        ({"lr": True}, "`lr` must be a finite number > 0, got True"),
        ({"epochs": True}, "`epochs` must be an integer >= 1, got True"),
        ({"schedule": "step", "lr_steps": "20"}, "`lr_steps` must be an integer >= 1, got '20'"),
        ({"schedule": "step", "lr_steps": ("20",)}, "`lr_steps` must be an integer >= 1, got '20'"),
    ],
)
def test_the_sentence_names_the_field_the_rule_the_value_and_a_remedy(settings, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**settings)


def test_numbers_of_numpy_are_numbers():
    config = TrainConfig(epochs=np.int64(7), lr=np.float32(0.5), seed=np.int32(2))
    assert config == TrainConfig(epochs=7, lr=0.5, seed=2)


def test_a_list_of_steps_becomes_a_tuple():
    config = TrainConfig(schedule="multi-step", lr_steps=[3, 5])
    assert config == TrainConfig(schedule="multi-step", lr_steps=(3, 5)) and hash(config)


def test_a_new_field_needs_no_line_of_its_own():
    @dataclass(frozen=True)
    class Config:
        number: float = 0.5
        count: int = 3
        flag: bool = False
        word: Literal["one", "two"] = "one"

        def __post_init__(self):
            check_types(self)

    Config(number=1, count=np.int8(2), flag=True, word="two")
    for name, value, rule in (
        ("number", "1", "a number"),
        ("number", False, "a number"),
        ("count", 2.0, "an integer"),
        ("count", True, "an integer"),
        ("flag", 0, "True or False"),
        ("word", "tow", "one of one, two"),
    ):
        with pytest.raises(InputError, match=f"`{name}` must be {rule}, got {value!r}"):
            Config(**{name: value})


@pytest.mark.parametrize(
    ("config", "name", "table"),
    [(TrainConfig, "schedule", SCHEDULES), (TrainConfig, "optimizer", BUILDERS), (ExplainConfig, "method", COMPUTE)],
)
def test_each_name_that_a_field_takes_stands_for_something(config, name, table):
    assert get_args(get_type_hints(config)[name]) == tuple(table)
