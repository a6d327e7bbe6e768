"""Equal Bits, Fig. 7: five architectures with binary weights, and with binary activations too."""

import program
from equal_bits_fig1 import VARIANTS

ARCHITECTURES = ("vgg16", "resnet18", "resnet34", "inception_v3", "shufflenet")
# An eighth of the width, few images and two epochs: enough to see that all of it trains, not who is best.
QUICK = {"model_options": {"width": 0.125}, "train_images": 2_000, "epochs": 2}


@program.figure_program
def main(experiment: program.Experiment) -> program.Findings:
    """Equal Bits, Fig. 7: VGG16, ResNet-18 and -34, InceptionV3 and ShuffleNet at 1/32 and 1/1."""
    shared = QUICK if experiment.quick else {"dataset": "cifar100"}
    rows, panels, claims = [], {}, []
    for bits in ("1/32", "1/1"):
        variants = {
            f"{model} {name}": {**shared, **fields, "model": model, "binarize_activations": bits == "1/1"}
            for model in ARCHITECTURES
            for name, fields in VARIANTS.items()
        }
        grid = experiment.grid(variants, 1, 3)
        accuracy = program.finals(grid)
        rows += program.final_rows(grid, bits=bits)
        panels[f"test accuracy, {bits}"] = accuracy
        for model in ARCHITECTURES:
            values = {name: accuracy[f"{model} {name}"] for name in VARIANTS}
            test = program.paired(values["bi_half"], values["ste_sign"])
            claims.append(
                program.Claim(
                    f"{model} {bits}: bi_half is more accurate than sign",
                    holds=None if experiment.quick else program.better(test),
                    measured={**program.summary(values), "gain": test},
                    why=experiment.limits("an eighth of the width, 2,000 images of CIFAR-10, 2 epochs"),
                )
            )
    plot = program.plot_points(panels, "Equal Bits, Fig. 7: architectures")
    return program.Findings(claims, {"runs": rows}, {"equal_bits_fig7": plot})


if __name__ == "__main__":
    main()
