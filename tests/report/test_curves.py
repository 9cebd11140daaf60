"""Training curves and factor pictures: the right axes, the right lines."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.report import canvas
from diffsda.report.curves import loss_curve, rate_curve
from diffsda.report.factors import dynamic_curves, static_scatter


def test_axes_are_logarithmic_only_where_it_helps():
    steps = np.arange(1, 200)
    axes = loss_curve(steps, 5.0 / steps).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    axes = loss_curve(steps - 1, 1 + 1 / steps).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("optimiser step", "loss")


def test_running_mean_of_a_straight_line_is_the_line():
    steps = np.arange(1.0, 201.0)
    lines = {line.get_label(): line for line in loss_curve(steps, 3 * steps).axes[0].lines}
    np.testing.assert_allclose(lines["running mean"].get_ydata(), 3 * steps)
    np.testing.assert_allclose(lines["running mean"].get_xdata(), steps)


def test_a_loss_that_broke_is_marked_where_it_did():
    losses = np.array([3.0, 2.0, np.nan, np.inf, 1.0])
    figure = loss_curve(10 * np.arange(1, 6), losses, held_out=([20, 40], [2.5, 2.0]))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["first loss not finite"].get_xdata()) == [30, 30]
    assert list(lines["training"].get_ydata()) == [3, 2, 1]
    assert list(lines["held out"].get_xdata()) == [20, 40]
    assert canvas.png(figure)[:4] == b"\x89PNG"


def test_rate_starts_at_zero_on_a_linear_axis():
    axes = rate_curve([0, 1, 2], [1e-4, 2e-4, 1e-6]).axes[0]
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] == 0


def test_scatter_by_hand():
    static = np.array([[3.0, 0, 0], [-3.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])
    axes = static_scatter(static, ["a", "a", "b", "b"], what="speaker").axes[0]
    points = np.concatenate([group.get_offsets() for group in axes.collections])
    np.testing.assert_allclose(np.abs(points), np.abs(static[:, :2]), atol=1e-12)
    assert "90%" in axes.get_xlabel()
    assert "10%" in axes.get_ylabel()
    assert [group.get_label() for group in axes.collections] == ["a", "b"]


def test_scatter_of_one_number_a_clip_and_of_equal_clips():
    assert "(0% of variance)" in static_scatter(np.array([[1.0], [2.0]]), [0, 1]).axes[0].get_ylabel()
    assert "(0% of variance)" in static_scatter(np.ones((3, 2)), [0, 1, 1]).axes[0].get_xlabel()


def test_dynamic_panels_and_means():
    dynamic = np.zeros((3, 4, 3))
    dynamic[:, :, 2] = [[1, 1, 1, 1], [3, 3, 3, np.nan], [9, 8, 7, 6]]
    dynamic[0, 0, 0] = 0.1
    figure = dynamic_curves(dynamic, ["x", "x", "y"], [4, 3, 4], most=2)
    assert [axes.get_ylabel() for axes in figure.axes] == ["d[0]", "d[2]"]
    means = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[1].lines}
    assert means["x"] == [2, 2, 2, 1]
    assert means["y"] == [9, 8, 7, 6]


def test_a_mean_stops_where_fewer_than_half_go_on():
    dynamic = np.ones((3, 5, 1))
    lines = {line.get_label(): line for line in dynamic_curves(dynamic, [0, 0, 0], [5, 2, 3]).axes[0].lines}
    assert lines["0"].get_xdata().tolist() == [0, 1, 2]


def test_labels_differ_in_colour_and_marker_together():
    looks = [(colour, marker) for _, _, colour, marker, _ in canvas.groups(np.arange(canvas.MOST_LABELS))]
    assert len(set(looks)) == canvas.MOST_LABELS == 35


def test_inputs_that_do_not_fit():
    with pytest.raises(InputError, match="none of 2 losses is finite"):
        loss_curve([1, 2], [np.nan, np.inf])
    with pytest.raises(InputError, match="expected both"):
        rate_curve([1, 2], [1])
    with pytest.raises(InputError, match="static scatter: got factors"):
        static_scatter(np.zeros((3, 2, 2)), [0, 1, 2])
    with pytest.raises(InputError, match="40 different ones"):
        static_scatter(np.random.default_rng(0).normal(size=(40, 3)), np.arange(40))
    with pytest.raises(InputError, match="dynamic curves"):
        dynamic_curves(np.zeros((2, 3, 1)), [0])
    with pytest.raises(InputError, match="not finite"):
        dynamic_curves(np.full((1, 2, 1), np.nan), [0])
