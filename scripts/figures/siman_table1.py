"""SiMaN, Table 1: with and without l2 on binary kernels, with the optimal or the half-half encoding."""

from pathlib import Path

import program

PAPER = {"l2, optimal": 55.1, "optimal": 57.3, "l2, half": 59.2, "half": 60.1}


@program.figure_program
def main(out: Path, experiment: program.Experiment, seeds: int | None) -> None:
    """SiMaN, Table 1: the four ablations (paper: ResNet-18 on ImageNet)."""
    if experiment.quick:
        shared = {"model": "resnet20", "epochs": 3}
    else:
        shared = {"model": "resnet18", "dataset": "imagenet2012"}
    variants = {
        name: {
            **shared,
            "recipe": "siman",
            "quantizer_options": {"encoding": name.split()[-1]},
            "decay": "equal_bits" if name.startswith("l2") else "siman",
        }
        for name in PAPER
    }
    grid = experiment.grid(variants, seeds or (1 if experiment.quick else 3))
    accuracy = program.finals(grid)
    program.write_csv(out / "runs.csv", program.final_rows(grid))
    program.write_plot(
        program.plot_points({"test accuracy": accuracy}, "SiMaN, Table 1"), out / "siman_table1.png"
    )
    why = "3 epochs of a narrow ResNet-20 on 5,000 images of CIFAR-10" if experiment.quick else ""
    program.write_verdicts(
        out,
        program.comparisons(
            accuracy,
            {
                "the optimal encoding is more accurate without l2": ("optimal", "l2, optimal"),
                "the half-half encoding is more accurate without l2": ("half", "l2, half"),
                "with l2, half-half is more accurate than optimal": ("l2, half", "l2, optimal"),
                "without l2, half-half is more accurate than optimal": ("half", "optimal"),
            },
            PAPER,
            why,
        ),
    )


if __name__ == "__main__":
    main()
