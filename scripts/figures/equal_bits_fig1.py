"""Equal Bits, Fig. 1: entropy of the binary weights during training, and of the binary activations after it."""

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
def main(experiment: program.Experiment) -> program.Findings:
    """Equal Bits, Fig. 1: bi_half keeps the entropy of weights at 1 and raises that of activations."""
    weights = activations = experiment.grid(VARIANTS)
    if not experiment.quick:
        large = {"model": "resnet18", "dataset": "cifar100"}
        activations = experiment.grid({name: {**fields, **large} for name, fields in VARIANTS.items()})
    entropies = {name: [activation_entropy(run) for run in runs] for name, runs in activations.items()}
    keys = ("bit_entropy", "filter_entropy", "bit_flips", "accuracy")
    panels = {
        "entropy of the network's bits": (weights, "bit_entropy"),
        "mean entropy of a filter": (weights, "filter_entropy"),
    }
    least = {
        name: float(min(min(run.history["filter_entropy"]) for run in runs)) for name, runs in weights.items()
    }
    model = "Conv2, CIFAR-10" if experiment.quick else "ResNet-18, CIFAR-100"
    higher = "the entropy of the activations is higher with bi_half than with"
    claims = [
        program.Claim(
            "the entropy of bi_half's weights is 1 in every filter and epoch, that of sign and IR-Net is not",
            holds=least["bi_half"] > 1 - 1e-6 and max(least["ste_sign"], least["ir_net"]) < 1 - 1e-6,
            measured={"least_filter_entropy": least},
            paper={"bi_half": 1.0},
        ),
        *program.comparisons(
            entropies,
            {f"{higher} {other} ({model})": ("bi_half", other) for other in ("ste_sign", "ir_net")},
            why=experiment.limits("Conv2 on CIFAR-10 in place of ResNet-18 on CIFAR-100"),
        ),
    ]
    by_seed = [
        {"variant": name, "seed": seed, "entropy": entropy}
        for name, each in entropies.items()
        for seed, entropy in enumerate(each)
    ]
    of_activations = {"mean entropy of a channel": entropies}
    return program.Findings(
        claims,
        {"epochs": program.epoch_rows(weights, keys), "activations": by_seed},
        {
            "equal_bits_fig1": program.plot_epochs(panels, "Equal Bits, Fig. 1a: entropy of the weights"),
            "equal_bits_fig1_activations": program.plot_points(
                of_activations, "Equal Bits, Fig. 1b: activations"
            ),
        },
    )


if __name__ == "__main__":
    main()
