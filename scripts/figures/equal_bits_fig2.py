"""Equal Bits, Fig. 2: how many bits flip during training."""

from pathlib import Path

import program
from equal_bits_fig1 import VARIANTS


@program.figure_program
def main(out: Path, experiment: program.Experiment, seeds: int | None) -> None:
    """Equal Bits, Fig. 2: bit flips over training of bi_half, sign and IR-Net on Conv2."""
    grid = experiment.grid(VARIANTS, seeds or 3)
    program.write_csv(
        out / "epochs.csv", program.epoch_rows(grid, ("bit_flips", "learning_rate", "accuracy"))
    )
    panels = {"share of bits that flipped in the epoch": (grid, "bit_flips")}
    program.write_plot(
        program.plot_epochs(panels, "Equal Bits, Fig. 2: bit flips"), out / "equal_bits_fig2.png"
    )
    total = {name: [sum(run.history["bit_flips"]) for run in runs] for name, runs in grid.items()}
    short = "4 epochs of 5,000 images leave most bits as they were drawn" if experiment.quick else ""
    program.write_verdicts(
        out,
        program.comparisons(
            total,
            {
                f"more flips for each bit in training with bi_half than with {other}": ("bi_half", other)
                for other in ("ste_sign", "ir_net")
            },
            why=short,
        ),
    )


if __name__ == "__main__":
    main()
