"""SiMaN's theory: the shares 0.37 and 0.54 of Corollary 2, the angle bounds of Corollary 3, and Eq. 9.

Nothing is trained: the shares are measured on weights that are drawn from the two distributions, the angles on
random codes, and Eq. 9 on random binary convolutions. Both presets do all of it.
"""

import math

import numpy as np
from program import Claim, Experiment, Findings, figure_program  # first: selects Keras 2

import tensorflow as tf  # isort: skip

from larq_equalbits import theory
from larq_equalbits.plots import canvas
from larq_equalbits.quantizers import SiMaN

WEIGHTS = 2_000_000
TOLERANCE = 0.005


def _objective(weights: np.ndarray) -> np.ndarray:
    magnitudes = np.sort(np.abs(weights))[::-1]
    return np.cumsum(magnitudes) / np.sqrt(np.arange(1, weights.size + 1))


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return math.degrees(math.acos(min(1.0, float(a @ b) / math.sqrt(float(a.sum()) * float(b.sum())))))


def _xnor_convolution(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """2 * bitcount(xnor) - n over packed bits, for a VALID convolution with stride 1 (Eq. 9 with scale 1)."""
    size, filters = kernel.shape[0], kernel.shape[-1]
    patches = np.lib.stride_tricks.sliding_window_view(images > 0, (size, size), axis=(1, 2))
    patches = np.moveaxis(patches, 3, -1).reshape(*patches.shape[:3], -1)
    n = patches.shape[-1]
    packed_images = np.packbits(patches, axis=-1)
    packed_filters = np.packbits((kernel > 0).reshape(n, filters).T, axis=-1)
    differing = np.unpackbits(packed_images[..., None, :] ^ packed_filters, axis=-1, count=n).sum(axis=-1)
    return 2 * (n - differing.astype(np.int64)) - n


def _shares(generator: np.random.Generator) -> tuple[list[Claim], list[tuple], dict]:
    cases = {
        "Laplace": (generator.laplace(0, 0.02, WEIGHTS), theory.LAPLACE_SHARE, 0.37),
        "Gauss": (generator.normal(0, 0.02, WEIGHTS), theory.GAUSS_SHARE, 0.54),
    }
    claims, rows, curves = [], [], {}
    for name, (weights, closed_form, paper) in cases.items():
        share = theory.optimal_share(weights)
        # The quantizer itself, on the first weights as one filter.
        part = weights[:65_536].astype("float32").reshape(-1, 1)
        codes = SiMaN(encoding="optimal", standardize=False)(tf.constant(part)).numpy()
        by_quantizer = float((codes > 0).mean())
        claims.append(
            Claim(
                f"{name} weights: {paper} of them become +1 at the optimum (Corollary 2)",
                holds=abs(share - closed_form) < TOLERANCE and round(closed_form, 2) == paper,
                measured={"share": share, "closed_form": closed_form, "quantizer_on_65536": by_quantizer},
                paper={"share": paper},
            )
        )
        rows.append((f"share of +1, {name}", share, closed_form, paper))
        curves[name] = _objective(weights)
    return claims, rows, curves


def _angles(generator: np.random.Generator) -> tuple[list[Claim], list[tuple]]:
    claims, rows = [], []
    for k, r, paper in ((0.37, 0.13, (30.66, 36.35)), (0.51, 0.01, (7.97, 8.05))):
        n = 10_000
        low, high = theory.angle_bounds(k, r)
        optimal = np.zeros(n)
        optimal[: round(k * n)] = 1
        angles = []
        for _ in range(2_000):
            # r * n of the bits differ, in any mixture of ones removed and ones added.
            removed = generator.integers(0, round(r * n) + 1)
            other = optimal.copy()
            other[:removed] = 0
            other[round(k * n) : round(k * n) + round(r * n) - removed] = 1
            angles.append(_angle(optimal, other))
        within = low - 1e-6 <= min(angles) and max(angles) <= high + 1e-6
        claims.append(
            Claim(
                f"codes with k = {k} n ones that differ in r = {r} n bits are {paper[0]} to {paper[1]} degrees apart "
                "(Corollary 3)",
                holds=within and abs(low - paper[0]) < 0.02 and abs(high - paper[1]) < 0.02,
                measured={"bounds": [low, high], "least": min(angles), "greatest": max(angles)},
                paper={"bounds": list(paper)},
            )
        )
        rows.append((f"least angle, k={k}", min(angles), low, paper[0]))
        rows.append((f"greatest angle, k={k}", max(angles), high, paper[1]))
    return claims, rows


def _equation_9(generator: np.random.Generator) -> Claim:
    largest = 0
    for channels, filters in ((3, 5), (32, 8), (64, 16)):
        images = generator.choice([-1.0, 1.0], (2, 9, 9, channels)).astype("float32")
        kernel = generator.choice([-1.0, 1.0], (3, 3, channels, filters)).astype("float32")
        expected = tf.nn.conv2d(images, kernel, 1, "VALID").numpy()
        largest = max(largest, int(np.abs(_xnor_convolution(images, kernel) - expected).max()))
    return Claim(
        "XNOR and bitcount compute the convolution of -1 and +1 (Eq. 9)",
        holds=largest == 0,
        measured={"largest_difference": largest},
    )


def _plot(curves: dict[str, np.ndarray]):
    figure = canvas.figure(6, 3.6)
    axes = figure.subplots()
    for (name, objective), color in zip(curves.items(), ("tab:blue", "tab:orange"), strict=True):
        share = np.arange(1, objective.size + 1) / objective.size
        step = objective.size // 2000
        best = int(np.argmax(objective))
        axes.plot(share[::step], (objective / objective.max())[::step], label=name, color=color)
        axes.axvline(share[best], color=color, linestyle=":", label=f"{name}: best at {share[best]:.2f}")
    axes.set(
        xlabel="share of the weights that become +1",
        ylabel="objective of Eq. 12, relative",
        ylim=(0.6, 1.02),
        title="SiMaN, Corollary 2",
    )
    axes.legend()
    return figure


@figure_program
def main(_: Experiment) -> Findings:
    """SiMaN's Corollaries 2 and 3 and its Eq. 9, measured on drawn weights and random codes."""
    generator = np.random.default_rng(0)
    share_claims, share_rows, curves = _shares(generator)
    angle_claims, angle_rows = _angles(generator)
    columns = ("quantity", "measured", "closed_form", "paper")
    rows = [dict(zip(columns, row, strict=True)) for row in share_rows + angle_rows]
    claims = [*share_claims, *angle_claims, _equation_9(generator)]
    return Findings(claims, {"theory": rows}, {"siman_theory": _plot(curves)})


if __name__ == "__main__":
    main()
