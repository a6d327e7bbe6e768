"""What a sweep says of its ratios: differences paired by seed, p with Holm's correction, the table and the plot."""

import io
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from rich.console import Console

from larq_equalbits._errors import InputError
from larq_equalbits.tuning import comparison, presentation
from larq_equalbits.tuning.trials import Trial, by_ratio

# Seeds in columns; the seed itself decides more than the ratio, which only pairs can tell.
ACCURACY = {
    0.3: [0.50, 0.61, 0.72, 0.80],
    0.5: [0.55, 0.64, 0.78, 0.84],
    0.7: [0.54, 0.66, 0.75, 0.85],
    0.9: [0.41, 0.55, 0.63, 0.73],
}


def trial(ratio, seed, status="COMPLETED", **others):
    metrics = {"test_accuracy": ACCURACY[ratio][seed]} if status == "COMPLETED" else {}
    values = {"positive_ratio": ratio, "seed": seed, **others}
    return Trial(f"{ratio}-{seed}", Path("t"), status, values, metrics, None, 1.0, None)


TRIALS = [trial(ratio, seed) for seed in range(4) for ratio in ACCURACY]


def test_differences_and_p_are_those_of_a_paired_test_and_holm():
    found = comparison.against(TRIALS, "test_accuracy")
    assert [each.ratio for each in found] == [0.3, 0.7, 0.9] and {each.pairs for each in found} == {4}
    for each in found:
        np.testing.assert_allclose(each.difference, np.mean(np.subtract(ACCURACY[each.ratio], ACCURACY[0.5])))
        expected = scipy.stats.ttest_rel(ACCURACY[each.ratio], ACCURACY[0.5])
        np.testing.assert_allclose(each.p, expected.pvalue, rtol=1e-6)
    low, middle, high = found
    assert high.p < low.p < middle.p
    assert high.corrected == pytest.approx(3 * high.p) and low.corrected == pytest.approx(2 * low.p)
    assert middle.corrected == pytest.approx(max(middle.p, low.corrected))


def test_holm_never_falls_below_the_one_before_and_never_exceeds_one():
    corrected = comparison._holm({1: 0.01, 2: 0.011, 3: 0.6, 4: 0.9})
    assert corrected == pytest.approx({1: 0.04, 2: 0.04, 3: 1.0, 4: 1.0})


def test_only_seeds_that_both_have_finished_count():
    trials = [trial(0.5, 0), trial(0.5, 1), trial(0.3, 1), trial(0.3, 2), trial(0.9, 3)]
    found = comparison.against([*trials, trial(0.7, 0, "FAILED")], "test_accuracy")
    assert [(each.ratio, each.pairs, each.p, each.corrected) for each in found] == [(0.3, 1, None, None)]
    assert found[0].difference == pytest.approx(-0.03)


def test_pairs_differ_in_the_ratio_alone():
    found = [trial(0.5, 0, sparsity=0.1), trial(0.5, 1, sparsity=0.9), trial(0.7, 2, sparsity=0.1)]
    assert comparison.against([*found, trial(0.7, 0, sparsity=0.9)], "test_accuracy") == []
    ((ratio, pairs),) = [
        (each.ratio, each.pairs)
        for each in comparison.against([*found, trial(0.7, 1, sparsity=0.9)], "test_accuracy")
    ]
    assert (ratio, pairs) == (0.7, 1)


def test_of_hyperband_the_trials_that_trained_longest_count():
    bands = [{"tuner/epochs": epochs, "tuner/bracket": epochs} for epochs in (1, 4)]
    found = [trial(ratio, seed, **band) for band in bands for ratio, seed in ((0.3, 0), (0.5, 0), (0.5, 1))]
    (compared,) = comparison.against([*found, trial(0.3, 1, **bands[0])], "test_accuracy")
    assert (compared.pairs, compared.difference) == (1, pytest.approx(-0.05))
    low, half = by_ratio([*found, trial(0.9, 0, "FAILED", **bands[0])])[:2]
    assert (low.completed, half.completed) == (1, 2)
    (axis,) = presentation.plot(found, ["test_accuracy"]).axes
    assert len(axis.lines[0].get_xdata()) == 3


def test_equal_differences_tell_no_p():
    found = comparison.against([trial(0.5, 0), trial(0.5, 0)], "test_accuracy")
    assert found == []
    same = {(0.5, 0): 0.5, (0.5, 1): 0.5, (0.7, 0): 0.5, (0.7, 1): 0.5}
    trials = [
        Trial("t", Path("t"), "COMPLETED", {"positive_ratio": r, "seed": s}, {"a": value}, None, 1.0, None)
        for (r, s), value in same.items()
    ]
    assert [(each.difference, each.p) for each in comparison.against(trials, "a")] == [(0.0, None)]


def test_differences_that_only_rounding_makes_unequal_tell_no_p():
    counts = (171, 268), (178, 275)
    first, second = ([float(np.float32(images / 355)) for images in several] for several in counts)
    assert len(set(np.subtract(first, second))) == 2
    assert comparison.paired(first, second) is None
    one_image_more = [first[0], first[1] + 1 / 355]
    expected = scipy.stats.ttest_rel(one_image_more, second)
    assert comparison.paired(one_image_more, second) == pytest.approx(expected.pvalue)


def test_a_reference_that_the_sweep_does_not_have_is_named():
    with pytest.raises(InputError, match=r"reference must be .*0\.3, 0\.5, 0\.7, 0\.9.*got 0\.4"):
        comparison.against(TRIALS, "test_accuracy", 0.4)


def test_the_table_holds_the_differences():
    text = io.StringIO()
    Console(file=text, width=80).print(presentation.compared(TRIALS, "test_accuracy", 0.5))
    assert presentation.compared([trial(0.5, 0), trial(0.3, 1)], "test_accuracy", 0.5) is None
    lines = text.getvalue().splitlines()
    assert "test_accuracy over that of 0.5" in lines[1] and "p, Holm" in lines[1]
    (row,) = [line for line in lines if line.strip().startswith("0.3")]
    assert "-0.0450" in row and f"{comparison.against(TRIALS, 'test_accuracy')[0].corrected:.3f}" in row


def test_the_plot_has_every_trial_the_chance_level_and_a_tick_at_each_ratio():
    figure = presentation.plot(TRIALS, ["test_accuracy"], chance=0.1)
    (axis,) = figure.axes
    points = next(line for line in axis.lines if line.get_label() == "trial").get_xydata().tolist()
    wanted = [[ratio, value] for ratio, values in ACCURACY.items() for value in values]
    assert sorted(points) == sorted(wanted)
    assert next(line for line in axis.lines if line.get_label() == "chance").get_ydata()[0] == 0.1
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0.3", "0.5", "0.7", "0.9"]


def test_no_chance_is_printed_as_zero():
    assert [presentation.chance(p) for p in (0.0004, 0.0005, 1.0)] == ["< 0.001", "0.001", "1.000"]
