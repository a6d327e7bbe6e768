"""Equal Bits, Fig. 7: five architectures with binary weights, and with binary activations too."""

from pathlib import Path

import program
from equal_bits_fig1 import VARIANTS

ARCHITECTURES = ("vgg16", "resnet18", "resnet34", "inception_v3", "shufflenet")
# An eighth of the width, few images and two epochs: enough to see that all of it trains, not who is best.
QUICK = {"model_options": {"width": 0.125}, "train_images": 2_000, "epochs": 2}


@program.figure_program
def main(out: Path, experiment: program.Experiment, seeds: int | None) -> None:
    """Equal Bits, Fig. 7: VGG16, ResNet-18 and -34, InceptionV3 and ShuffleNet at 1/32 and 1/1."""
    shared = QUICK if experiment.quick else {"dataset": "cifar100"}
    seeds = seeds or (1 if experiment.quick else 3)
    rows, panels, claims = [], {}, []
    for bits in ("1/32", "1/1"):
        variants = {
            f"{model} {name}": {**shared, **fields, "model": model, "binarize_activations": bits == "1/1"}
            for model in ARCHITECTURES
            for name, fields in VARIANTS.items()
        }
        grid = experiment.grid(variants, seeds)
        accuracy = program.finals(grid)
        rows += [{"bits": bits, **row} for row in program.final_rows(grid)]
        panels[f"test accuracy, {bits}"] = accuracy
        for model in ARCHITECTURES:
            values = {name: accuracy[f"{model} {name}"] for name in VARIANTS}
            test = program.paired(values["bi_half"], values["ste_sign"])
            claims.append(
                program.Claim(
                    f"{model} {bits}: bi_half is more accurate than sign",
                    holds=None if experiment.quick else program.better(test),
                    measured={**program.summary(values), "gain": test},
                    why="an eighth of the width, 2,000 images of CIFAR-10, 2 epochs"
                    if experiment.quick
                    else "",
                )
            )
    program.write_csv(out / "runs.csv", rows)
    program.write_plot(
        program.plot_points(panels, "Equal Bits, Fig. 7: architectures"), out / "equal_bits_fig7.png"
    )
    program.write_verdicts(out, claims)


if __name__ == "__main__":
    main()
