"""Equal Bits, Fig. 1: entropy of the binary weights during training, and of the binary activations after it."""

from pathlib import Path

import program

from larq_equalbits import data

VARIANTS = {
    "bi_half": {"quantizer": "bi_half"},
    "ste_sign": {"quantizer": "ste_sign"},
    "ir_net": {"quantizer": "ir_net", "estimator": (1e-3, 10.0)},
}
PROBE = 512


def activation_entropy(run) -> float:
    """Entropy of all binary activations of the run's last network on test images."""
    from larq_equalbits._bits import counting
    from larq_equalbits.callbacks import activations

    images = data.load(run.settings.dataset, data_dir=run.settings.data_dir, batch_size=PROBE)
    batch = next(iter(images.test))[0]
    counts = activations.ActivationProbe(run.load_model(), batch).observe()
    return counting.total(list(counts.values())).filter_entropy


@program.figure_program
def main(out: Path, experiment: program.Experiment, seeds: int | None) -> None:
    """Equal Bits, Fig. 1: bi_half keeps the entropy of weights at 1 and raises that of activations."""
    seeds = seeds or 3
    weights = experiment.grid(VARIANTS, seeds)
    if experiment.quick:
        activations = weights
    else:
        activations = experiment.grid(
            {
                name: {**fields, "model": "resnet18", "dataset": "cifar100"}
                for name, fields in VARIANTS.items()
            },
            seeds,
        )
    entropies = {name: [activation_entropy(run) for run in runs] for name, runs in activations.items()}
    keys = ("bit_entropy", "filter_entropy", "bit_flips", "accuracy")
    program.write_csv(out / "epochs.csv", program.epoch_rows(weights, keys))
    program.write_csv(
        out / "activations.csv",
        [
            {"variant": name, "seed": i, "entropy": x}
            for name, each in entropies.items()
            for i, x in enumerate(each)
        ],
    )
    panels = {
        "entropy of the network's bits": (weights, "bit_entropy"),
        "mean entropy of a filter": (weights, "filter_entropy"),
    }
    program.write_plot(
        program.plot_epochs(panels, "Equal Bits, Fig. 1a: entropy of the weights"),
        out / "equal_bits_fig1.png",
    )
    program.write_plot(
        program.plot_points({"mean entropy of a channel": entropies}, "Equal Bits, Fig. 1b: activations"),
        out / "equal_bits_fig1_activations.png",
    )
    least = {
        name: float(min(min(run.history["filter_entropy"]) for run in runs)) for name, runs in weights.items()
    }
    model = "Conv2, CIFAR-10" if experiment.quick else "ResNet-18, CIFAR-100"
    program.write_verdicts(
        out,
        [
            program.Claim(
                "the entropy of bi_half's weights is 1 in every filter and epoch, that of sign and IR-Net is not",
                holds=least["bi_half"] > 1 - 1e-6 and max(least["ste_sign"], least["ir_net"]) < 1 - 1e-6,
                measured={"least_filter_entropy": least},
                paper={"bi_half": 1.0},
            ),
            *program.comparisons(
                entropies,
                {
                    f"the entropy of the activations is higher with bi_half than with {other} ({model})": (
                        "bi_half",
                        other,
                    )
                    for other in ("ste_sign", "ir_net")
                },
                why="Conv2 on CIFAR-10 in place of ResNet-18 on CIFAR-100" if experiment.quick else "",
            ),
        ],
    )


if __name__ == "__main__":
    main()
