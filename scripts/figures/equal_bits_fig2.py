"""Equal Bits, Fig. 2: how many bits flip during training."""

import program
from equal_bits_fig1 import VARIANTS


@program.figure_program
def main(experiment: program.Experiment) -> program.Findings:
    """Equal Bits, Fig. 2: bit flips over training of bi_half, sign and IR-Net on Conv2."""
    grid = experiment.grid(VARIANTS)
    panels = {"share of bits that flipped in the epoch": (grid, "bit_flips")}
    claims = program.comparisons(
        {name: [sum(run.history["bit_flips"]) for run in runs] for name, runs in grid.items()},
        {
            f"more flips for each bit in training with bi_half than with {other}": ("bi_half", other)
            for other in ("ste_sign", "ir_net")
        },
        why=experiment.limits("4 epochs of 5,000 images leave most bits as they were drawn"),
    )
    return program.Findings(
        claims,
        {"epochs": program.epoch_rows(grid, ("bit_flips", "learning_rate", "accuracy"))},
        {"equal_bits_fig2": program.plot_epochs(panels, "Equal Bits, Fig. 2: bit flips")},
    )


if __name__ == "__main__":
    main()
