"""SiMaN, Table 1: with and without l2 on binary kernels, with the optimal or the half-half encoding."""

import program

PAPER = {"l2, optimal": 55.1, "optimal": 57.3, "l2, half": 59.2, "half": 60.1}


@program.figure_program
def main(experiment: program.Experiment) -> program.Findings:
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
    grid = experiment.grid(variants, 1, 3)
    accuracy = program.finals(grid)
    claims = program.comparisons(
        accuracy,
        {
            "the optimal encoding is more accurate without l2": ("optimal", "l2, optimal"),
            "the half-half encoding is more accurate without l2": ("half", "l2, half"),
            "with l2, half-half is more accurate than optimal": ("l2, half", "l2, optimal"),
            "without l2, half-half is more accurate than optimal": ("half", "optimal"),
        },
        PAPER,
        experiment.limits("3 epochs of a narrow ResNet-20 on 5,000 images of CIFAR-10"),
    )
    plot = program.plot_points({"test accuracy": accuracy}, "SiMaN, Table 1")
    return program.Findings(claims, {"runs": program.final_rows(grid)}, {"siman_table1": plot})


if __name__ == "__main__":
    main()
