"""Equal Bits, Fig. 6: how many decision boundaries a network of 12 binary weights can draw.

The network is 2-3-1 with sigmoids and weights in {-1, +1}: W1 (2x3), b1 (3), W2 (3x1), no output bias. A boundary
is the map of its rounded predictions on a grid; constant maps are dropped, and a map and its complement are one.
Nothing is trained, so both presets enumerate all 4,096 networks.
"""

import itertools

import numpy as np
from program import Claim, Experiment, Findings, figure_program

from larq_equalbits.plots import canvas

WEIGHTS = 12
PAPER_ALL = 76
PAPER_HALF = 66
PAPER_BY_NEGATIVES = [0, 0, 2, 14, 35, 55, 66, 59, 37, 15, 3, 0, 0]


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def boundaries(step: float = 0.04) -> tuple[np.ndarray, list[bytes | None]]:
    """The weights of all networks (4096, 12), and for each the key of its boundary (None for a constant map)."""
    axis = np.arange(-5, 5, step)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    networks = np.array(list(itertools.product([-1.0, 1.0], repeat=WEIGHTS)))
    # A hidden unit is one of eight: two weights and a bias.
    units = {unit: _sigmoid(grid @ unit[:2] + unit[2]) for unit in itertools.product([-1.0, 1.0], repeat=3)}
    keys: list[bytes | None] = []
    for weights in networks:
        hidden = np.stack([units[tuple(weights[unit:9:3])] for unit in range(3)], axis=-1)
        # A prediction of exactly one half rounds to 0, as round() does.
        classes = np.round(_sigmoid(hidden @ weights[9:])).astype(bool)
        if classes.all() or not classes.any():
            keys.append(None)
        else:
            # A map and its complement draw the same boundary: the one whose first point is False stands for both.
            keys.append(np.packbits(classes ^ classes[0]).tobytes())
    return networks, keys


def plot(counts: list[int], combinations: list[int], example: list[np.ndarray], every: list[np.ndarray]):
    """The boundaries of all networks, those of the networks with six negatives, and the numbers by negatives."""
    figure = canvas.figure(11, 3.6)
    left, middle, right = figure.subplots(1, 3)
    for axes, maps, title in (
        (left, every, f"all 4,096 networks: {len(every)} boundaries"),
        (middle, example, f"924 with six negatives: {len(example)}"),
    ):
        side = np.arange(-5, 5, 0.04)
        for classes in maps:
            axes.contour(side, side, classes.reshape(len(side), -1), levels=[0.5], linewidths=0.6)
        axes.set(title=title, xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    right.bar(range(len(counts)), counts, color="tab:blue", label="boundaries")
    other = right.twinx()
    other.plot(range(len(combinations)), combinations, "o-", color="tab:orange", label="networks")
    right.set(xlabel="number of negative weights", ylabel="boundaries (bars)", title="by bit ratio")
    other.set_ylabel("networks (line)")
    return figure


@figure_program
def main(_: Experiment) -> Findings:
    """Equal Bits, Fig. 6: equal bit ratios keep most of the decision boundaries of a toy network."""
    networks, keys = boundaries()
    negatives = (networks < 0).sum(axis=1)
    by_negatives = [
        {key for key, n in zip(keys, negatives, strict=True) if n == k} - {None} for k in range(WEIGHTS + 1)
    ]
    counts = [len(found) for found in by_negatives]
    combinations = [int((negatives == k).sum()) for k in range(WEIGHTS + 1)]
    distinct = set(keys) - {None}

    columns = ("negatives", "networks", "boundaries", "paper")
    rows = zip(range(WEIGHTS + 1), combinations, counts, PAPER_BY_NEGATIVES, strict=True)
    size = len(np.arange(-5, 5, 0.04)) ** 2

    def unpack(found):
        return [np.unpackbits(np.frombuffer(key, np.uint8))[:size] for key in sorted(found)]

    figure = plot(counts, combinations, unpack(by_negatives[WEIGHTS // 2]), unpack(distinct))
    return Findings(
        [
            Claim(
                "the 4,096 networks draw 76 boundaries",
                holds=len(distinct) == PAPER_ALL,
                measured={"networks": len(networks), "boundaries": len(distinct)},
                paper={"networks": 4096, "boundaries": PAPER_ALL},
            ),
            Claim(
                "the 924 networks with equal bits draw 66 of them, more than any other ratio",
                holds=counts[6] == PAPER_HALF and counts[6] == max(counts),
                measured={"networks": combinations[6], "boundaries": counts[6]},
                paper={"networks": 924, "boundaries": PAPER_HALF},
            ),
            Claim(
                "boundaries by number of negatives",
                holds=counts == PAPER_BY_NEGATIVES,
                measured={"boundaries": counts},
                paper={"boundaries": PAPER_BY_NEGATIVES},
            ),
        ],
        {"boundaries": [dict(zip(columns, row, strict=True)) for row in rows]},
        {"equal_bits_fig6": figure},
    )


if __name__ == "__main__":
    main()
