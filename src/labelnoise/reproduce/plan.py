"""What the report shows: its sections, and the experiments that each needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from labelnoise.audit.experiment import AuditRun
from labelnoise.noise.models import ClassConditional
from labelnoise.sweeps.experiment import SweepRun
from labelnoise.theory.config import SimulateConfig
from labelnoise.theory.experiment import SimulateRun
from labelnoise.theory.problem import SignalNoise
from labelnoise.training.config import ExplainConfig, TrainConfig
from labelnoise.training.experiment import TrainRun


@dataclass(frozen=True)
class AuditOf:
    """An audit of an experiment of the report, once that has ended."""

    name: str

    def within(self, folder: Path) -> AuditRun:
        """Return the audit of that experiment's folder within this one."""
        return AuditRun(data=str(folder / self.name), top=20)


@dataclass(frozen=True)
class Setting:
    """One setting of a section: its title and its experiments by name."""

    title: str
    experiments: dict[str, SimulateRun | SweepRun | TrainRun | AuditOf]


@dataclass(frozen=True)
class SectionPlan:
    """A section of the report before its experiments are run."""

    name: str
    title: str
    text: str
    settings: tuple[Setting, ...]
    explained: Mapping[str, ExplainConfig] = field(default_factory=dict)
    """Experiments whose samples are attributed to their pixels, too, and how."""


BANDS = "Lines are means over the seeds, bands their range."
WITH, WITHOUT = "labels flipped with probability 0.2", "no label noise"


def plan_sections(quick: bool = False) -> tuple[SectionPlan, ...]:
    """Return every section with the experiments that it needs."""
    return *_synthetic_sections(quick), _map_section(quick), _digits_section(quick), _audit_section()


def _synthetic_sections(quick: bool) -> tuple[SectionPlan, SectionPlan]:
    """The paper's synthetic figure, where both stages are clearest and where stopping pays."""
    seeds = tuple(range(2 if quick else 5))
    fine = SimulateConfig(steps=600, record_every=6, test_draws=500) if quick else SimulateConfig(record_every=4)
    few_dimensions = SignalNoise(d=400, mu_norm=5.66, init_std=0.01)
    return (
        SectionPlan(
            "synthetic-a",
            "The paper's model, d = 40,000: the clean picture of both stages",
            "What to look for. Top, the largest signal coefficient and the largest noise coefficients: does "
            "signal lead at first, and do the noise patches of wrongly labelled samples overtake it after T1? "
            "Middle: does the accuracy on noisy samples, against their wrong labels, stay at 0 until then? "
            "Bottom, the test error against true labels: at d far above n only test patches that recur from the "
            "training set should suffer. "
            f"{BANDS}",
            _with_and_without_noise("a", SimulateRun(SignalNoise(), replace(fine, lr=0.005), seeds)),
        ),
        SectionPlan(
            "synthetic-b",
            "The same model at d = 400: where stopping in time pays",
            "Only twice as many dimensions as samples. What to look for: memorised noise reaches fresh test patches "
            f"as well, and the fresh-noise error should rise in Stage II. {BANDS}",
            _with_and_without_noise("b", SimulateRun(few_dimensions, replace(fine, lr=0.3), seeds, n_holdout=1_000)),
        ),
    )


def _map_section(quick: bool) -> SectionPlan:
    """Where the first stage exists."""
    fine = "n_snr2=log:2:32:3 tau=0.1:0.3:0.1" if quick else "n_snr2=log:1:32:11 tau=0.05:0.4:0.05"
    run = SweepRun(
        SignalNoise(n=60, d=3_600, m=5),
        SimulateConfig(steps=200, test_draws=0),
        (*fine.split(), "init_scale=0.2", "stage_one_scale=20"),
        variables=("stage_one", "t1", "window_start", "window_end"),
        seeds=3 if quick else 10,
    )
    return SectionPlan(
        "map",
        "The same model over signal and flip rate: where there is a Stage I at all",
        "n = 60, d = n^2. What to see: the boundary rises with the flip rate: a signal that is enough at one label "
        "in twenty wrong is not at one in four.",
        (Setting("Stage I over n SNR^2 and tau", {"map": run}),),
    )


def _with_and_without_noise(name: str, run: SimulateRun) -> tuple[Setting, ...]:
    without = replace(run, problem=replace(run.problem, label_noise=ClassConditional(0.0, 0.0)))
    return Setting(WITH, {f"{name}-noise": run}), Setting(WITHOUT, {f"{name}-clean": without})


def _digits_section(quick: bool) -> SectionPlan:
    """The same stages on real images."""
    epochs, seeds = (40, range(1)) if quick else (120, range(3))

    def setting(title: str, name: str, noise: str) -> Setting:
        runs = {seed: TrainRun(noise=noise, training=TrainConfig(epochs=epochs, seed=seed)) for seed in seeds}
        return Setting(title, {f"digits-{name}-seed{seed}": run for seed, run in runs.items()})

    return SectionPlan(
        "digits",
        "Real images: handwritten digits, ten classes, one label in five flipped",
        "What to look for. Middle: does the network fit the clean samples while it still rejects the wrong labels, "
        "and does the accuracy on test images fall when it memorises them? Bottom: samples with a negative margin are "
        "suspects; precision and recall say how well they are the wrong labels. The held-out accuracy sees given "
        f"labels only. {BANDS}",
        (setting(WITH, "noise", "symmetric:0.2"), setting(WITHOUT, "clean", "none")),
        explained={"digits-noise-seed0": ExplainConfig(method="deep" if find_spec("shap") else "expected-gradients")},
    )


def _audit_section() -> SectionPlan:
    """What a practitioner gets, who does not know the truth."""
    return SectionPlan(
        "audit",
        "The same digits without the truth: which labels are wrong?",
        "The audit sees the given labels and what the first of these trainings recorded, nothing else. What to look "
        "for: does the interval hold the share that was really flipped, which stands above, and are the worst suspects "
        "digits that a person would label as suggested?",
        (Setting("an audit of the training with seed 0", {"digits-audit": AuditOf("digits-noise-seed0")}),),
    )
