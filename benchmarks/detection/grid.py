"""Which trainings the harness holds: data sets and learners by kinds of noise, with turning schedules, and seeds."""

from __future__ import annotations

from records import Setting

CHOOSING, REPORTING = (0, 1, 2), (3, 4, 5)
"""Seeds on which scores, decisions and stops are chosen, and those on which the chosen ones are reported."""
SCHEDULES = ("constant", "step", "cosine")
NOISES = (
    "none", "symmetric:0.05", "symmetric:0.1", "symmetric:0.2", "symmetric:0.4", "pair:0.1", "pair:0.3",
    "class-conditional:0.2", "instance:0.1", "instance:0.3", "subclass:0.1", "subclass:0.3",
)  # fmt: skip
TABLES = (
    ("breast-cancer", "mlp"), ("digits-table", "mlp"), ("fried", "mlp"), ("2dplanes", "mlp"), ("adult", "boosting"),
    ("banking77", "linear"), ("wine", "mlp"), ("adult", "mlp"),
)  # fmt: skip
IMAGES = (
    ("digits", "small-cnn"), ("digits", "small-cnn-bn"), ("mnist", "small-cnn"), ("fashion", "small-cnn"),
    ("cifar-pair", "small-cnn"), ("cifar-pair", "small-cnn-bn"), ("cifar10", "small-cnn"), ("cifar10", "small-cnn-bn"),
)  # fmt: skip
SUBSET = (
    ("breast-cancer", "mlp", "none"), ("breast-cancer", "mlp", "symmetric:0.2"),
    ("breast-cancer", "mlp", "class-conditional:0.2"), ("breast-cancer", "mlp", "instance:0.3"),
    ("breast-cancer", "mlp", "subclass:0.1"), ("digits-table", "mlp", "none"), ("digits-table", "mlp", "symmetric:0.2"),
    ("digits-table", "mlp", "instance:0.3"), ("2dplanes", "mlp", "symmetric:0.2"),
    ("digits", "small-cnn", "symmetric:0.2"),
)  # fmt: skip


def settings(
    names: tuple[str, ...], seeds: tuple[int, ...], subset: bool = False, noises: tuple[str, ...] = ()
) -> list[Setting]:
    """Settings seed by seed, so that a run that is cut short has whole seeds.

    Args:
        names: data sets to keep; none for all.
        seeds: of data, noise, weights and batches.
        subset: the small part that is done in minutes.
        noises: to keep; none for all.
    """
    grid = SUBSET if subset else tuple((*pair, noise) for pair in TABLES + IMAGES for noise in NOISES)
    return [
        Setting(data, learner, noise, SCHEDULES[(place + seed) % len(SCHEDULES)], seed)
        for seed in seeds
        for place, (data, learner, noise) in enumerate(grid)
        if (not names or data in names or f"{data}/{learner}" in names) and (not noises or noise in noises)
    ]
