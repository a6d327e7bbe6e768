"""Equal Bits, Fig. 2: how many bits flip during training."""

from pathlib import Path

from equal_bits_fig1 import VARIANTS
from program import (
    Claim,
    Experiment,
    epoch_rows,
    figure_program,
    last,
    plot_epochs,
    summary,
    write_csv,
    write_plot,
    write_verdicts,
)


@figure_program
def main(out: Path, experiment: Experiment, seeds: int | None) -> None:
    """Equal Bits, Fig. 2: bit flips over training of bi_half, sign and IR-Net on Conv2."""
    grid = experiment.grid(VARIANTS, seeds or 1)
    write_csv(out / "epochs.csv", epoch_rows(grid, ("bit_flips", "learning_rate", "accuracy")))
    panels = {"share of bits that flipped in the epoch": (grid, "bit_flips")}
    write_plot(plot_epochs(panels, "Equal Bits, Fig. 2: bit flips"), out / "equal_bits_fig2.png")
    total = {name: [sum(run.history["bit_flips"]) for run in runs] for name, runs in grid.items()}
    means = {name: sum(each) / len(each) for name, each in total.items()}
    short = "4 epochs of 5,000 images leave most bits as they were drawn" if experiment.quick else ""
    write_verdicts(
        out,
        [
            Claim(
                "more bits flip in training with bi_half than with sign and IR-Net",
                holds=means["bi_half"] > max(means["ste_sign"], means["ir_net"]),
                measured={"flips_per_bit": summary(total), "last_epoch": summary(last(grid, "bit_flips"))},
                why=short,
            ),
        ],
    )


if __name__ == "__main__":
    main()
