"""What the maps show: numbers of each cell, lines of equal theory, cuts, and which cells have no number."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from helpers import assert_close
from labelnoise.runs.places import read_settings
from labelnoise.sweeps.axes import Side, edges, side_of
from labelnoise.sweeps.chunks import Store
from labelnoise.sweeps.contours import draw_lines, words_of_level
from labelnoise.sweeps.dataset import grid_dataset
from labelnoise.sweeps.execution import Execution, Work, duration, workers_of
from labelnoise.sweeps.experiment import SweepRun
from labelnoise.sweeps.grid import words_of
from labelnoise.sweeps.page import pictures_of
from labelnoise.sweeps.quantities import (
    SHARE,
    STAGES,
    completed,
    error_quantities,
    nice_levels,
    theory_lines,
    wilson,
)

TABLE = {"n": 16, "d": 200, "m": 2, "lr": 0.05, "steps": 20, "test_draws": 0, "seeds": 2}


def pictures(folder, grid, **settings):
    """The pictures of a small sweep, and its dataset; no file is written but its chunks."""
    table = {**TABLE, **settings, "grid": list(words_of(grid))}
    config, how = read_settings(table, (SweepRun, Execution))
    with workers_of(Execution(workers=1)) as run:
        result = Work(Store(folder), run, how, None).complete(config.plan())
    dataset = completed(grid_dataset(config.base, config.axes, result))
    return {picture.name: picture for picture in pictures_of(dataset, None)}, dataset


def test_a_map_shows_the_mean_of_each_cell_where_it_lies(tmp_path):
    shown, dataset = pictures(tmp_path / "a", {"mu_norm": [2, 4, 8], "d": [100, 200]})
    assert set(shown) == {"stages", "errors"}
    left, *_ = shown["stages"].draw().axes
    mesh = left.collections[0]
    assert_close(np.asarray(mesh.get_array()), dataset.stage_one.mean("seed").transpose("d", "mu_norm").values)
    assert_close(mesh.get_coordinates()[0, :, 0], 2 ** np.array([0.5, 1.5, 2.5, 3.5]))
    assert_close(mesh.get_coordinates()[:, 0, 1], np.array([50.0, 150.0, 250.0]))
    assert left.get_xscale() == "log" and left.get_xlabel() == r"$\Vert\mu\Vert$"
    for name in shown:
        assert [text.get_text() for text in shown[name].draw().texts] == ["2 seeds a cell"]
    legend = [text.get_text() for text in left.figure.legends[0].get_texts()]
    assert legend[:2] == [r"$n\,\mathrm{SNR}^2$ = const", r"$n\Vert\mu\Vert^4/(\sigma_\xi^4 d)$ = const"]


def test_cells_that_diverged_are_grey_and_hatched(tmp_path):
    shown, dataset = pictures(tmp_path / "a", {"mu_norm": [2, 4], "lr": [0.05, 1e300]})
    left, *_ = figure_axes = shown["stages"].draw().axes
    assert np.ma.getmaskarray(left.collections[0].get_array()).tolist() == [[False, False], [True, True]]
    (hatched,) = (c for c in left.collections if getattr(c, "get_hatch", lambda: None)())
    assert len(hatched.get_paths()) == 2
    assert "a seed diverged" in [text.get_text() for text in figure_axes[0].figure.legends[0].get_texts()]
    assert np.isnan(SHARE.mean(dataset).sel(lr=1e300)).all()


def legend_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def inches_below(figure):
    """Room below the lowest panel."""
    return min(panel.get_position().y0 for panel in figure.axes if panel.get_title()) * figure.get_figheight()


def test_the_legend_says_why_cells_are_grey(tmp_path):
    """Not of the table of stages, but of what is drawn: a map of errors may hold T1 in its errors only."""
    kept = ["stage_one", "test_error_seen", "test_error_seen_at_T1"]
    shown, dataset = pictures(tmp_path / "a", {"mu_norm": [0.1, 8], "d": [100, 200]}, variables=kept, seeds=4)
    assert dataset.stage_one.mean("seed").values.tolist()[0] == [0, 0]
    figure = shown["errors"].draw()
    assert legend_of(figure)[-1] == "no number: no Stage I" and inches_below(figure) > 0.95
    shown, _ = pictures(tmp_path / "b", {"mu_norm": [8, 9], "lr": [0.05, 1e300]}, variables=kept, seeds=4)
    assert legend_of(shown["errors"].draw())[-2:] == ["a seed diverged", "no number: all seeds diverged"]
    shown, _ = pictures(tmp_path / "c", {"mu_norm": [8, 9], "tau": [0, 0.2]}, seeds=4)
    assert legend_of(shown["stages"].draw()) == ["no number: no noisy or no clean samples"]
    shown, _ = pictures(tmp_path / "d", {"n_snr2": [40, 50], "tau": [0.1, 0.2]}, variables=kept[1:2])
    figure = shown["errors"].draw()
    assert legend_of(figure) == [] and inches_below(figure) < 0.65


def test_what_never_happens_lies_apart_and_is_called_so(tmp_path):
    grid = {"mu_norm": [2, 4, 8], "selection_from": [2, 4, 8, 20]}
    shown, dataset = pictures(tmp_path / "a", grid)
    panel = shown["stages"].draw().axes[0]
    assert [text.get_text() for text in panel.get_yticklabels()] == ["2", "4", "8", "never"]
    borders = side_of(dataset, "selection_from").borders
    assert_close(borders, np.array([2**0.5, 8**0.5, 32**0.5, 128**0.5, 32.0]))
    assert_close(np.array(panel.get_ylim()), borders[[0, -1]])
    (gap,) = panel.patches
    assert_close(np.array([gap.get_y(), gap.get_y() + gap.get_height()]), np.array([128**0.5, 16.0]))
    assert gap.get_facecolor() == (1, 1, 1, 1) and borders[3] < gap.get_y() + gap.get_height() < panel.get_yticks()[-1]
    assert shown["stages"].text.endswith(" Never: selection_from at the last step or later.")
    shown, _ = pictures(tmp_path / "b", {**grid, "selection_from": [2, 4, 8, 19]})
    panel = shown["stages"].draw().axes[0]
    assert not panel.patches and "Never" not in shown["stages"].text  # the last step selects


def test_axes_end_where_cells_end_and_cells_where_values_end(tmp_path):
    shown, dataset = pictures(tmp_path / "a", {"n_snr2": [0, 1, 2], "fresh_flips": [0, 0.1, 0.2]}, variables=["loss"])
    assert side_of(dataset, "n_snr2").borders.tolist() == [0, 0.5, 1.5, 2.5]
    assert_close(side_of(dataset, "fresh_flips").borders, np.array([0, 0.05, 0.15, 0.25]))
    shown, dataset = pictures(tmp_path / "b", {"lr": [0.01, 0.05, 0.09], "bias": [0, 1]}, variables=["loss"])
    assert_close(side_of(dataset, "lr").borders, np.array([0, 0.03, 0.07, 0.11]))
    assert_close(side_of(dataset, "bias").borders, np.array([-0.5, 0.5, 1.5]))
    shown, dataset = pictures(tmp_path / "c", {"flip_dependence": [0, 0.5, 1], "flip_cosine": [-1, 0, 1]})
    for panel in shown["errors"].draw().axes[:3]:
        assert panel.get_xlim() == (0, 1) and panel.get_ylim() == (-1, 1)


def test_more_axes_give_cuts_at_the_middle_that_say_so(tmp_path):
    shown, dataset = pictures(tmp_path / "a", {"mu_norm": [2, 4], "d": [100, 200, 300], "m": [2, 3, 5]})
    assert set(shown) == {
        f"{what}-{pair}" for what in ("stages", "errors") for pair in ("mu_norm-d", "mu_norm-m", "d-m")
    }
    assert shown["stages-mu_norm-d"].text.endswith("This is the cut at m = 3.")
    drawn = np.asarray(shown["stages-mu_norm-d"].draw().axes[0].collections[0].get_array())
    assert_close(drawn, dataset.stage_one.sel(m=3).mean("seed").transpose("d", "mu_norm").values)


def test_one_axis_gives_curves_with_bands_and_none_gives_nothing(tmp_path):
    shown, dataset = pictures(tmp_path / "a", {"mu_norm": [1, 4, 16]})
    (picture,) = shown.values()
    top, _, bottom = picture.draw().axes
    assert_close(top.lines[0].get_ydata(), dataset.stage_one.mean("seed").values)
    assert top.get_ylabel() == "share of 2 seeds\nwith a Stage I"
    assert len(bottom.lines) == 2 and bottom.get_xscale() == "log"  # seen noise, at the end and at T1
    shown, _ = pictures(tmp_path / "b", {"mu_norm": 4})
    assert shown == {}


def test_the_words_on_points_say_how_many_seeds_each_has(tmp_path):
    _, dataset = pictures(tmp_path / "a", {"mu_norm": [2, 4], "d": [100, 200]}, seeds=1)
    (picture,) = pictures_of(dataset.stack(point=("mu_norm", "d")).reset_index("point"), None)
    assert "with 1 seed, grey" in picture.text


def test_what_stopping_gains_is_over_the_seeds_that_have_a_stage(tmp_path):
    _, dataset = pictures(tmp_path / "a", {"mu_norm": [5.0, 8.0]}, seeds=8)
    at_t1, at_end, gain = (quantity.mean(dataset).values for quantity in error_quantities("seen"))
    assert_close(at_end, dataset.test_error_seen.values.mean(1))
    for cell in (0, 1):
        reached = dataset.stage_one.values[cell] == 1
        assert 0 < reached.sum() < 8
        early, late = dataset.test_error_seen_at_T1.values[cell, reached], dataset.test_error_seen.values[cell, reached]
        assert_close([at_t1[cell], gain[cell]], [early.mean(), (late - early).mean()])
    assert_close(STAGES[1].mean(dataset).values, np.nanmean(dataset.t1.values / (16 * 2 / (0.05 * 200)), axis=1))


def test_lines_of_theory_are_left_out_where_they_say_nothing(tmp_path):
    _, dataset = pictures(tmp_path / "a", {"n_snr2": [1, 4, 16], "tau": [0.1, 0.2]})
    assert theory_lines(dataset, ("n_snr2", "tau")) == {}  # an axis itself, and a function of it
    _, dataset = pictures(tmp_path / "b", {"mu_norm": [1, 4, 16], "tau": [0.1, 0.2]})
    ((values, levels),) = theory_lines(dataset, ("mu_norm", "tau")).values()
    assert_close(values.values[:, 1], 16 * np.array([1.0, 4, 16]) ** 2 / 200)
    assert levels.tolist() == [0.1, 1, 10]


@pytest.mark.parametrize("signal", [[1, 2, 4, 8, 16], [2, 3, 4, 5, 6]], ids=["log", "linear"])
def test_every_line_of_theory_bears_its_value_and_is_named_below(signal, tmp_path):
    shown, dataset = pictures(tmp_path / "a", {"mu_norm": signal, "d": [100, 400, 1_600]})
    lines = theory_lines(dataset, ("mu_norm", "d"))
    assert list(lines) == ["n_snr2", "benign"]
    assert shown["stages"].text.endswith(
        " Lines of equal n SNR^2 (solid) and n ||mu||^4 / (sigma_xi^4 d) (dashed) bear its value."
    )
    for panel in shown["stages"].draw().axes[:3]:
        drawn = [lines_ for lines_ in panel.collections if isinstance(lines_, ContourSet) and not lines_.filled]
        for contour, (_, levels) in zip(drawn, lines.values(), strict=True):
            labels = {text.get_text() for text in contour.labelTexts}
            seen = [level for level, path in zip(levels, contour.get_paths(), strict=True) if len(path.vertices)]
            assert len(seen) > 2 and labels == {words_of_level(level) for level in np.log10(seen)}
    panel = shown["stages"].draw().axes[0]
    of_theory = [drawn for drawn in panel.collections if isinstance(drawn, ContourSet) and not drawn.filled]
    for contour, power in zip(of_theory, (2, 4), strict=True):
        for level, path in zip(contour.levels, contour.get_paths(), strict=True):
            for mu, d in path.vertices:
                assert 16 * mu**power / d == pytest.approx(10**level, rel=0.05 if signal[0] == 1 else 0.2)
            at, ends = panel.transData.transform(path.vertices), np.flatnonzero(path.codes == path.MOVETO)[1:]
            assert (np.linalg.norm(at[ends] - at[ends - 1], axis=1) < 35).all()  # pixels: its label, not more


def test_the_values_on_lines_of_theory_do_not_cover_each_other(tmp_path):
    grid = {"mu_norm": np.linspace(0.1, 10, 12).tolist(), "d": np.linspace(100, 1_100, 11).tolist()}
    shown, _ = pictures(tmp_path, grid, n=20, steps=2, seeds=1, test_draws=20)
    figure = shown["errors"].draw()
    drawn = [
        one for panel in figure.axes for one in panel.collections if isinstance(one, ContourSet) and one.labelTexts
    ]
    boxes = [text.get_window_extent() for one in drawn[:2] for text in one.labelTexts]
    assert len(boxes) > 6
    for first, second in combinations(boxes, 2):
        assert not first.overlaps(second)


SQUARE = np.meshgrid(np.geomspace(1, 100, 9), np.geomspace(1, 100, 9))


def lines_on_a_square(*lines):
    at = SQUARE[0][0]
    side = Side("", "log", at, at, np.exp(edges(np.log(at))))
    panel = Figure(figsize=(4, 4)).add_axes((0, 0, 1, 1), xscale="log", yscale="log", xlim=(1, 100), ylim=(1, 100))
    draw_lines(panel, side, side, [(values, np.array(levels)) for values, levels in lines])
    return panel.collections


def test_a_line_that_is_too_short_for_its_value_is_not_drawn():
    (drawn,) = lines_on_a_square((SQUARE[0] * SQUARE[1], [1.2, 100, 1000]))  # the first cuts off a corner
    assert [text.get_text() for text in drawn.labelTexts] == ["100", "$10^{3}$"]
    assert [len(path.vertices) > 0 for path in drawn.get_paths()] == [False, True, True]


def test_a_value_that_only_the_edge_has_room_for_is_not_written():
    """Two lines cut off the same corner: beside the value of the first, that of the second has room at its ends."""
    product = SQUARE[0] * SQUARE[1]
    first, second = lines_on_a_square((product, [5_000.0]), (product, [7_000.0]))
    assert [text.get_text() for text in first.labelTexts] == ["5000"]
    assert not second.labelTexts and not len(second.get_paths()[0].vertices)


def test_a_value_stands_where_its_line_has_most_room():
    """On a square of two decades by two with a cross: in the middle of an arm; the second value is farther out, since
    half of its distance d from the first counts: 1 - d = sqrt(d^2 + 1/4) / 2."""
    across, up = SQUARE
    (first,), (second,) = (drawn.labelTexts for drawn in lines_on_a_square((across, [10.0]), (up, [10.0])))
    assert_close(np.abs(np.log10(first.get_position()) - 1), np.array([0, 0.5]), atol=0.02)
    assert_close(np.abs(np.log10(second.get_position()) - 1), np.array([(8 - np.sqrt(19)) / 6, 0]), atol=0.02)


def test_levels_edges_and_intervals():
    assert nice_levels(np.array([0, 3.0, 2_500])).tolist() == [10, 100, 1000]
    assert nice_levels(np.array([3.0, 20])).tolist() == [4, 8, 16] and nice_levels(np.zeros(3)).size == 0
    assert len(nice_levels(np.array([1e-9, 1e9]))) <= 6
    assert nice_levels(np.array([0.05, 10_100])).tolist() == [0.1, 1, 10, 100, 1000]  # that of 10^4 would be a dot
    assert nice_levels(np.arange(3_001)).tolist() == [100, 1000]  # that of 10 would lie beside that of 100
    assert_close(edges(np.array([1.0, 2, 4])), np.array([0.5, 1.5, 3, 5]))
    low, high = wilson(np.array([0.5, 0.0]), np.array([10, 10]))
    assert low[0] == pytest.approx(0.2366, abs=1e-4) and high[1] == pytest.approx(0.2775, abs=1e-4)


def test_a_time_is_shown_in_its_two_largest_units():
    shown = {0.4: "<1 s", 3.6: "4 s", 59.4: "59 s", 123: "2 min 3 s", 3_900: "1 h 5 min"}
    assert {seconds: duration(seconds) for seconds in shown} == shown
