import math

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import plots, pruning
from larq_equalbits._errors import InputError
from larq_equalbits.callbacks import BitLogger
from larq_equalbits.plots.kernels import _grid


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A trained model's History; its run folder is its attribute `folder`."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    folder.mkdir()
    conv = lq.layers.QuantConv2D(8, 3, kernel_quantizer="bi_half", input_shape=(6, 6, 2), name="conv")
    dense = lq.layers.QuantDense(3, kernel_quantizer="ste_sign", name="dense")
    model = tf.keras.Sequential([conv, tf.keras.layers.Flatten(), dense])
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.Adam(0.05), loss, metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6, 6, 2)), rng.integers(0, 3, 32)
    loggers = [BitLogger(), tf.keras.callbacks.CSVLogger(folder / "history.csv")]
    history = model.fit(x, y, epochs=3, verbose=0, validation_split=0.25, callbacks=loggers)
    model.save(folder / "model.keras")
    history.folder = folder
    return history


def test_of_a_history_that_ends_within_a_row_the_whole_rows_count(history, tmp_path):
    whole = (history.folder / "history.csv").read_text()
    path = tmp_path / "history.csv"
    expected = {key: values[:2] for key, values in plots.read_history(history.folder).items()}
    last = whole.rindex("\n", 0, len(whole) - 1) + 1
    for end in (last + 1, (last + len(whole)) // 2, len(whole.rstrip())):
        path.write_text(whole[:end])
        assert plots.read_history(tmp_path) == expected
    path.write_text(whole[: last + 9] + whole[last:])
    words = r"history\.csv must have \d+ values in each row, but has \d+ in row 3"
    with pytest.raises(InputError, match=words):
        plots.read_history(tmp_path)
    path.write_text("")
    assert plots.read_history(tmp_path) == {}


def lines(axis):
    return {line.get_label(): line.get_ydata().tolist() for line in axis.get_lines()}


def test_bits_draws_what_was_logged(history):
    figure = plots.bits({"first": history, "second": history.folder})
    assert [axis.get_title() for axis in figure.axes[:2]] == ["first", "second"]
    for axis, measure in zip(figure.axes, ["bit_entropy"] * 2 + ["bit_flips"] * 2, strict=True):
        drawn = lines(axis)
        assert drawn["network"] == pytest.approx(history.history[measure])
        assert drawn["conv"] == pytest.approx(history.history[f"conv/{measure}"])
    lowest = min(history.history["dense/bit_entropy"])
    assert figure.axes[0].get_ylim()[0] < lowest


def test_epochs_have_the_numbers_of_their_fit():
    of_fit = tf.keras.callbacks.History()
    of_fit.epoch = [10, 11]
    of_fit.history = {key: [0.9, 1.0] for key in ("loss", "bit_entropy", "bit_flips", "filter_entropy")}
    for run in (of_fit, plots.read_history(of_fit)):
        for draw in (plots.bits, plots.learning, plots.filter_entropy):
            assert list(draw(run).axes[0].lines[0].get_xdata()) == [11, 12]


@pytest.mark.parametrize(
    "as_run", [lambda h: h, lambda h: h.folder, lambda h: str(h.folder), lambda h: h.history]
)
def test_bits_of_one_run_and_some_layers(history, as_run):
    figure = plots.bits(as_run(history), layers=["conv"])
    assert set(lines(figure.axes[0])) == {"conv", "network"}


@pytest.mark.parametrize("draw", [plots.latent_weights, plots.filter_ratios])
@pytest.mark.parametrize("as_run", [lambda h: h, lambda h: h.folder, lambda h: h.model])
def test_weights_from_every_kind_of_run(history, draw, as_run):
    titles = [axis.get_title() for axis in draw(as_run(history)).axes]
    assert [title for title in titles if title] == ["conv", "dense"]


def test_shares_of_bi_half_fill_one_bar(history):
    bars = plots.filter_ratios(history, layers=["conv"]).axes[0].patches
    heights = {round(bar.get_x() + bar.get_width() / 2, 2): bar.get_height() for bar in bars}
    assert {share: height for share, height in heights.items() if height} == {0.5: 8}


def test_threshold_lies_between_the_codes():
    latent = np.array([[0.0, -1.0, 0.3], [1.0, -2.0, -0.3], [3.0, -5.0, 0.1]])
    codes = np.array([[-1, 1, 1], [1, -1, 1], [1, -1, -1]])
    np.testing.assert_array_equal(plots.threshold(latent, codes), [0.5, -1.5, np.nan])


def test_learning_draws_both_splits(history):
    figure = plots.learning(history)
    assert [set(lines(axis)) for axis in figure.axes] == [{"loss", "val_loss"}, {"accuracy", "val_accuracy"}]


def test_figures_can_be_saved_and_leave_pyplot_alone(history, tmp_path):
    draws = (plots.bits, plots.learning, plots.latent_weights, plots.filter_ratios)
    for index, draw in enumerate(draws):
        draw(history).savefig(tmp_path / f"{index}.png")
        assert (tmp_path / f"{index}.png").stat().st_size > 1000
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_an_epoch_without_a_value_is_a_gap_and_a_key_that_no_epoch_has_is_left_out(tmp_path):
    """CSVLogger writes such columns where nothing was validated in the first epoch."""
    rows = ["conv/bit_entropy,val_conv/bit_entropy,val_loss", "1.0,NA,NA", "0.5,NA,0.25"]
    (tmp_path / "history.csv").write_text("\n".join(rows) + "\n")
    history = plots.read_history(tmp_path)
    assert set(history) == {"conv/bit_entropy", "val_loss"} and history["conv/bit_entropy"] == [1.0, 0.5]
    np.testing.assert_equal(history["val_loss"], [np.nan, 0.25])
    assert plots.layer_names(history) == ["conv"]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda history, folder: plots.bits(folder), "history.csv"),
        (lambda history, folder: plots.bits({"loss": [1.0]}), "bit_entropy"),
        (lambda history, folder: plots.bits({}), "bit_entropy|at least one"),
        (lambda history, folder: plots.bits(3), "run must be"),
        (lambda history, folder: plots.bits(history, layers=["covn"]), "'conv', 'dense'.*'covn'"),
        (lambda history, folder: plots.latent_weights(history, layers=["covn"]), "'conv', 'dense'.*'covn'"),
        (lambda history, folder: plots.filter_ratios(folder), "model.keras"),
        (lambda history, folder: plots.latent_weights({}), "a model"),
        (lambda history, folder: plots.learning({"x": [1.0]}), "loss"),
    ],
)
def test_errors_say_what_would_be_right(history, tmp_path, draw, message):
    with pytest.raises(InputError, match=message):
        draw(history, tmp_path)


def test_the_map_has_a_row_for_each_kernel_and_a_panel_for_each_run(history):
    figure = plots.filter_map({"a": history, "b": history.folder})
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", ""]
    rows = [mesh.get_array().ravel() for mesh in figure.axes[0].collections]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["conv", "dense"]
    assert rows[0].tolist() == [0.5] * 8
    assert len(rows[1]) == 3
    assert (np.diff(rows[1]) >= 0).all()
    with pytest.raises(InputError, match="at least one run"):
        plots.filter_map({})


def test_filters_that_are_pruned_as_a_whole_have_no_share(history):
    pruned = pruning.prune(history.model, 0.5, granularity="filter")
    mesh = plots.filter_map(pruned).axes[0].collections[0]
    assert mesh.get_array().ravel().tolist() == [0.5] * 4 + [None] * 4
    mesh = plots.filter_map(pruned, layers=["conv"]).axes[0].collections[0]
    assert mesh.get_clim() == pytest.approx((0.45, 0.55))
    bars = plots.filter_ratios(pruned, layers=["conv"]).axes[0].patches
    assert sum(bar.get_height() for bar in bars) == 4


def test_a_line_goes_through_the_epochs_with_validation():
    logs = {"loss": [4.0, 3.0, 2.0, 1.0], "val_loss": [math.nan, 3.5, math.nan, 1.5]}
    _, dashed = plots.learning(logs).axes[0].get_lines()
    assert dashed.get_xydata().tolist() == [[2, 3.5], [4, 1.5]]


def test_entropy_per_filter_of_two_runs_in_one_panel(history):
    figure = plots.filter_entropy({"a": history, "b": history.folder})
    assert lines(figure.axes[0])["a"] == lines(figure.axes[0])["b"] == history.history["filter_entropy"]
    with pytest.raises(InputError, match="holds no filter_entropy"):
        plots.filter_entropy({"a": {"loss": [1.0]}})


def test_accuracy_against_size_and_time():
    points = {"float": plots.Point(0.9, 4096, 2.0), "binary": plots.Point(0.8, 1024)}
    size, time = plots.tradeoff(points).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in size.get_lines()}
    assert drawn == {"float": [[4.0, 0.9]], "binary": [[1.0, 0.8]]}
    assert [line.get_xydata().tolist() for line in time.get_lines()] == [[[2.0, 0.9]]]
    with pytest.raises(InputError, match="'x' must have an accuracy"):
        plots.tradeoff({"x": plots.Point(0.9, 0)})
    with pytest.raises(InputError, match="points must be"):
        plots.tradeoff({})


@pytest.mark.parametrize(
    ("count", "columns", "expected"), [(3, 2, 3), (4, 3, 4), (5, 3, 3), (1, 3, 1), (6, 3, 3)]
)
def test_panels_leave_few_places_empty(count, columns, expected):
    figure, axes = _grid(count, columns, None)
    assert len(axes) == count
    assert figure.axes[0].get_gridspec().ncols == expected
