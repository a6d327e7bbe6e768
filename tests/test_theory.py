import numpy as np
import pytest

from larq_equalbits import theory
from larq_equalbits._errors import InputError


def test_shares_of_corollary_2():
    assert pytest.approx(0.37, abs=0.005) == theory.LAPLACE_SHARE
    assert theory.gauss_threshold() == pytest.approx(0.43, abs=0.005)
    assert pytest.approx(0.54, abs=0.005) == theory.GAUSS_SHARE


def test_angles_of_corollary_3():
    assert theory.angle_bounds(0.37, 0.13) == pytest.approx((30.66, 36.35), abs=0.005)
    assert theory.angle_bounds(0.51, 0.01) == pytest.approx((7.97, 8.05), abs=0.005)
    assert theory.angle_bounds(5, 0) == (0, 0)


def test_entropy():
    assert [theory.entropy(p) for p in (0, 0.5, 1)] == [0, 1, 0]
    assert theory.entropy(0.11) == pytest.approx(0.5, abs=1e-3)
    assert theory.entropy(0.2) == pytest.approx(theory.entropy(0.8))


@pytest.mark.parametrize(
    ("family", "share"), [("laplace", theory.LAPLACE_SHARE), ("normal", theory.GAUSS_SHARE)]
)
def test_drawn_weights_have_the_share_of_their_family(family, share):
    weights = getattr(np.random.default_rng(0), family)(scale=0.02, size=50_000)
    assert theory.optimal_share(weights) == pytest.approx(share, abs=0.01)
    best = theory.fit(weights)[0]
    assert (best.family, best.share) == ({"normal": "gauss"}.get(family, family), share)
    assert best.scale == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        *((theory.entropy, [share]) for share in (1.1, True, float("nan"))),
        *((theory.angle_bounds, pair) for pair in ((0, 0), (1, 2))),
        *((theory.optimal_share, [weights]) for weights in ([], [float("inf")], ["a"])),
        *((theory.fit, [weights]) for weights in ([1.0, 1.0], [0.1] * 3, [0.1, float("nan")], None)),
    ],
)
def test_bad_input_is_refused(function, arguments):
    with pytest.raises(InputError):
        function(*arguments)
