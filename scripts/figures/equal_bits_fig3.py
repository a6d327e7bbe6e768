"""Equal Bits, Fig. 3: weight decay and the decay of the learning rate steer how many bits flip."""

from pathlib import Path

import program

DECAYS = (0.0, 5e-4, 5e-3)


@program.figure_program
def main(out: Path, experiment: program.Experiment, seeds: int | None) -> None:
    """Equal Bits, Fig. 3: weight decay and learning-rate decay against bit flips, Conv2, binary weights."""
    shared = {"quantizer": "bi_half", "binarize_activations": False}
    decays = {f"weight decay {decay:g}": {**shared, "weight_decay": decay} for decay in DECAYS}
    rates = {
        "constant rate": {**shared, "schedule": "constant"},
        "steps": shared,
        "cosine": {**shared, "schedule": "cosine"},
    }
    grid = experiment.grid({**decays, **rates}, seeds or 3)
    program.write_csv(
        out / "epochs.csv", program.epoch_rows(grid, ("bit_flips", "learning_rate", "accuracy"))
    )
    left = {name: grid[name] for name in decays}
    right = {name: grid[name] for name in rates}
    label = "share of bits that flipped"
    panels = {label: (left, "bit_flips"), f"{label} ": (right, "bit_flips")}
    program.write_plot(
        program.plot_epochs(panels, "Equal Bits, Fig. 3: bit flips"), out / "equal_bits_fig3.png"
    )
    total = {name: [sum(run.history["bit_flips"]) for run in runs] for name, runs in left.items()}
    none, paper, most = decays
    why = "a quarter of the width, 5,000 images and 4 epochs" if experiment.quick else ""
    program.write_verdicts(
        out,
        [
            *program.comparisons(
                total,
                {
                    f"more flips for each bit with {paper} than without": (paper, none),
                    f"more flips for each bit with {most} than with {paper}": (most, paper),
                },
                why=why,
            ),
            *program.comparisons(
                program.last(right, "bit_flips"),
                {
                    f"fewer flips in the last epoch with {decaying} than with a constant rate": (
                        "constant rate",
                        decaying,
                    )
                    for decaying in ("steps", "cosine")
                },
                why=why,
            ),
        ],
    )


if __name__ == "__main__":
    main()
