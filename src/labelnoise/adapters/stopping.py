"""What an adapter does beside recording, where it has a rule: it lets the rule see every epoch, and keeps weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import nn

from labelnoise.adapters.evaluation import as_tensors
from labelnoise.errors import InputError, described
from labelnoise.record.history import EpochRecord
from labelnoise.record.recorder import Recorder
from labelnoise.record.stop_rules import Combined, RunningMean, StopRule
from labelnoise.record.stopping import Stop
from labelnoise.record.watching import Watch, observe_record, with_epoch
from labelnoise.training.config import Average, check_average
from labelnoise.training.kept_weights import KeptWeights


def check_rule(rule: StopRule | None, average: Average, recorder: Recorder | None = None) -> None:
    """Refuse what is no rule, or one that looks at held-out samples where a recorder has none, and a wrong average."""
    if rule is not None and not isinstance(rule, StopRule):
        raise InputError(f"`rule` must be a stop rule or None, got {described(rule)}; use for example HeldOutLoss()")
    check_average(average)
    if rule is not None and recorder is not None and rule.needs_held_out and recorder.held_out is None:
        raise InputError(
            f"`recorder` must have held-out samples, got none; {rule!r} looks at them: give Recorder(..., "
            "held_out=mask) and do not train on those"
        )


def warn_of_average(rule: StopRule | None, average: Average) -> None:
    """Warn of a mean of all weights up to where another rule than `RunningMean` chooses a single epoch."""
    among = rule.rules if isinstance(rule, Combined) else (rule,)
    if (
        not isinstance(average, str)
        or average != "all"
        or rule is None
        or any(isinstance(one, RunningMean) for one in among)
    ):
        return
    warnings.warn(
        f"`average` all goes with RunningMean, which says up to where a mean of all is best, got {rule!r}, which "
        "chooses a single epoch; give rule=RunningMean()",
        UserWarning,
        stacklevel=3,
    )


class Stopping:
    """A rule at work on the epochs of a recorder, and the weights that it may choose.

    Args:
        model: the network that is trained.
        recorder: of its training, from the first epoch on.
        rule: says where to stop; `check_rule` has looked at it.
        average: of which epochs the weights are averaged, as in `KeptWeights`.

    Raises:
        InputError: a recorder that holds epochs of which the rule has not seen the weights.
    """

    def __init__(self, model: nn.Module, recorder: Recorder, rule: StopRule, average: Average) -> None:
        if recorder.epochs:
            raise InputError(
                f"`recorder` must have no epochs when a rule begins, got {recorder.epochs}; make a new one, or go on "
                "from the state of both"
            )
        held_out = recorder.held_out
        self.model, self.held_out = model, np.zeros(recorder.n_samples, bool) if held_out is None else held_out
        self.watch = Watch(rule)
        self.averaged: list[int] | None = None
        """The epochs, from 0, whose average the network holds; None while it is trained."""
        self._recorder, self._kept = recorder, KeptWeights(model, self.watch, average)

    def observe(self, epoch: EpochRecord) -> bool:
        """Take the epoch that the recorder has just ended; return whether the training ends with it.

        Raises:
            InputError: it is the first one, and no held-out sample has a finite output in it.
        """
        unseen = epoch.prediction[self.held_out] < 0
        if not self.watch.records and unseen.size and unseen.all():
            raise InputError(
                f"held-out samples must have finite outputs, got none of {unseen.size} in the first epoch; "
                f"{self.watch.rule!r} looks at them: let the pass after each epoch go through all samples"
            )
        observe_record(self.watch, epoch.loss, epoch.prediction, self._recorder.given, self.held_out)
        self._kept.take()
        self.averaged = None
        return self.watch.ended

    @property
    def stop(self) -> Stop | None:
        """What the rule says so far, its reason with the epoch that is kept; None before the first epoch."""
        return None if self.watch.stop is None else with_epoch(self.watch.stop, self.watch.records)

    def load_average(self, batches: Iterable[Any], call: Callable[[Any], object] | None = None) -> list[int]:
        """Put the average around the chosen epoch into the network, in eval mode; return its epochs, from 0.

        Args:
            batches: inputs that were trained on, for the statistics of batch norm; not looked at without it.
            call: how the network is given one of them; None calls it with the batch alone.
        """
        self.averaged = self._kept.load_average(batches, call)
        return self.averaged

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as tensors and plain values: for checkpoints."""
        watch = as_tensors(self.watch.state_dict())
        return {"settings": self._settings, "watch": watch, "weights": self._kept.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            InputError: it is of another rule or average, of another network, or None, as where the training was begun
                without a rule.
        """
        if not isinstance(state, Mapping) or not {"settings", "watch", "weights"} <= state.keys():
            raise InputError(
                f"the state must hold what {self.watch.rule!r} has seen, got {described(state)}; go on without a rule, "
                "or start again"
            )
        if state["settings"] != self._settings:
            raise InputError(
                f"the state must be of {self._settings}, got {state['settings']}; the weights that another rule may "
                "choose were not kept: go on with that one"
            )
        self.watch.load_state_dict(state["watch"])
        self._kept.load_state_dict(state["weights"])

    @property
    def _settings(self) -> str:
        """What tells which weights are kept."""
        return f"{self.watch.rule!r} with average={self._kept.average!r}"


class Stoppable:
    """What an adapter says of its rule."""

    _stopping: Stopping | None = None

    @property
    def stop(self) -> Stop | None:
        """What the rule says of the epochs so far; None before the first, and without a rule.

        Its numbers count epochs from 0, as the recorder does; its reason names the chosen one from 1, as tables do.
        """
        return self._stopping.stop if self._stopping else None

    @property
    def averaged(self) -> list[int] | None:
        """The epochs, from 0, whose average the network holds; None while it is trained, and without a rule."""
        return self._stopping.averaged if self._stopping else None
