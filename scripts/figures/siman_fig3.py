"""SiMaN, Fig. 3: convergence of SiMaN and RBNN."""

import program

VARIANTS = {
    "siman": {"recipe": "siman"},
    "rbnn": {
        "recipe": "ir-net",
        "quantizer": "rbnn",
        "batch_size": 256,
        "weight_decay": 1e-4,
        "estimator": (1e-2, 10.0),
    },
}


@program.figure_program
def main(experiment: program.Experiment) -> program.Findings:
    """SiMaN, Fig. 3: accuracy over training of SiMaN and RBNN (paper: ResNet-34 on ImageNet)."""
    if experiment.quick:
        shared = {"model": "resnet20", "epochs": 3}
    else:
        shared = {"model": "resnet34", "dataset": "imagenet2012", "epochs": 150}
    grid = experiment.grid({name: {**fields, **shared} for name, fields in VARIANTS.items()})
    panels = {"training accuracy": (grid, "accuracy"), "validation accuracy": (grid, "val_accuracy")}
    why = "3 epochs of a narrow ResNet-20 on 5,000 images of CIFAR-10, which do not tell convergence"
    claims = []
    for key, words in (("accuracy", "training"), ("val_accuracy", "validation")):
        claims += program.comparisons(
            program.last(grid, key),
            {f"SiMaN ends at a higher {words} accuracy than RBNN": ("siman", "rbnn")},
            why=experiment.limits(why),
        )
    return program.Findings(
        claims,
        {"epochs": program.epoch_rows(grid, ("accuracy", "val_accuracy", "loss"))},
        {"siman_fig3": program.plot_epochs(panels, "SiMaN, Fig. 3: convergence")},
    )


if __name__ == "__main__":
    main()
