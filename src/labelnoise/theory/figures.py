"""The figure of the paper's model."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from labelnoise.report.drawing import ALL, CLEAN, FRESH, NOISY, PERTURBED, SEEN, SIGNAL, band, finish, grid, mark_stages
from labelnoise.runs.pages import Panel


def simulation_figure(panels: Sequence[Panel]) -> Figure:
    """The paper's synthetic figure: coefficients (top) and accuracies against iteration, and the three test errors."""
    figure, axes = grid(panels, height=7.6, ratios=(3, 3, 2))
    for (top, middle, bottom), panel in zip(axes.T, panels, strict=True):
        history = panel.history[panel.history["step"] > 0]
        band(top, history, "step", "gamma_max", SIGNAL, r"signal: max $\gamma_{j,r}$")
        band(top, history, "step", "rho_noisy_max", NOISY, "noise patches of\nnoisy samples: max $\\rho$")
        band(top, history, "step", "rho_clean_max", CLEAN, "noise patches of\nclean samples: max $\\rho$")
        band(middle, history, "step", "accuracy_clean", CLEAN, "clean samples")
        band(middle, history, "step", "accuracy_noisy", NOISY, "noisy samples\n(given label)")
        band(middle, history, "step", "accuracy", ALL, "all samples", dash="--")
        for kind, colour, dash in (("seen", SEEN, "-"), ("perturbed", PERTURBED, "--"), ("fresh", FRESH, "-")):
            if f"test_error_{kind}" in history:
                band(bottom, history, "step", f"test_error_{kind}", colour, f"{kind} noise", dash)
        for axis in (top, middle, bottom):
            mark_stages(axis, panel, labelled=axis is top)
        top.set(xscale="log", yscale="log")
        middle.set(ylim=(-0.03, 1.03))
        bottom.set(xlabel="gradient step")
        bottom.set_ylim(-0.06 * max(bottom.get_ylim()[1], 0.05), max(bottom.get_ylim()[1], 0.05))  # shows a line at 0
    return finish(figure, axes, ("coefficient", "training accuracy", "test error"))
