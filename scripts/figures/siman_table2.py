"""SiMaN, Table 2: ResNet-20 and VGG-small on CIFAR-10, each method by its own recipe."""

import program

METHODS = {
    "siman": {"recipe": "siman"},
    "ir_net": {"recipe": "ir-net"},
    "bi_half": {"recipe": "equal-bits"},
    "ste_sign": {"recipe": "equal-bits", "quantizer": "ste_sign"},
}
PAPER = {"resnet20": {"siman": 87.4, "ir_net": 86.5}, "vgg_small": {"siman": 92.5, "ir_net": 90.4}}


@program.figure_program
def main(experiment: program.Experiment) -> program.Findings:
    """SiMaN, Table 2: test accuracy of SiMaN, IR-Net, bi_half and sign with binary weights and activations."""
    rows, panels, claims = [], {}, []
    for model, paper in PAPER.items():
        shared = {"model": model, **({"epochs": 3} if experiment.quick else {})}
        variants = {name: {**shared, **fields} for name, fields in METHODS.items()}
        grid = experiment.grid(variants, 1, 3)
        accuracy = program.finals(grid)
        rows += program.final_rows(grid, model=model)
        panels[f"test accuracy, {model}"] = accuracy
        claims += program.comparisons(
            accuracy,
            {
                f"{model}: SiMaN is more accurate than {other}": ("siman", other)
                for other in METHODS
                if other != "siman"
            },
            paper,
            experiment.limits("a quarter of the width, 5,000 images, 3 epochs of 300 to 400"),
        )
    plot = program.plot_points(panels, "SiMaN, Table 2")
    return program.Findings(claims, {"runs": rows}, {"siman_table2": plot})


if __name__ == "__main__":
    main()
