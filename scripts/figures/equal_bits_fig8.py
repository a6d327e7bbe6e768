"""Equal Bits, Fig. 8: accuracy of pruned binary networks: by rank with equal bits, by magnitude with sign, and MPT."""

from typing import Any

import numpy as np
import program

METHODS: dict[str, dict[str, Any]] = {
    "bi_half": {"quantizer": "bi_half"},
    "ste_sign": {"quantizer": "ste_sign"},
    "mpt": {"recipe": "mpt"},
}
CRITERIA = {"bi_half": "rank", "ste_sign": "magnitude"}


def pruned_run(
    experiment: program.Experiment, model: str, method: str, sparsity: float, seed: int, **fields: Any
) -> Any:
    """A run of `model` of which every binary kernel has this share of zeros."""
    from larq_equalbits import pruning, zoo

    chosen = {**METHODS[method], **fields, "model": model, "seed": seed, "binarize_activations": False}
    if method == "mpt":
        return experiment.run({**chosen, "score_sparsity": sparsity})

    def build(**arguments: Any) -> Any:
        return pruning.prune(zoo.get(model)(**arguments), sparsity, CRITERIA[method])

    return experiment.run(chosen, f"{CRITERIA[method]} {sparsity}", build)


@program.figure_program
def main(experiment: program.Experiment) -> program.Findings:
    """Equal Bits, Fig. 8: accuracy against sparsity, bi_half, sign and MPT with binary weights."""
    models = [("conv2", "cifar10")]
    if not experiment.quick:
        models += [(name, "cifar10") for name in ("conv4", "conv6", "conv8")] + [("resnet18", "cifar100")]
    sparsities = (0.5, 0.9) if experiment.quick else (0.1, 0.3, 0.5, 0.7, 0.9)
    seeds = experiment.repetitions(1, 3)
    rows, panels, claims = [], {}, []
    for model, dataset in models:
        grid = {
            f"{method} {sparsity}": [
                pruned_run(experiment, model, method, sparsity, seed, dataset=dataset)
                for seed in range(seeds)
            ]
            for sparsity in sparsities
            for method in METHODS
        }
        accuracy = program.finals(grid)
        rows += program.final_rows(grid, model=model)
        panels[f"test accuracy, {model}"] = accuracy
        for rival in ("ste_sign", "mpt"):
            means = [
                [np.mean([accuracy[f"{method} {s}"][seed] for s in sparsities]) for seed in range(seeds)]
                for method in ("bi_half", rival)
            ]
            test = program.paired(*means)
            claims.append(
                program.Claim(
                    f"pruned {model}: bi_half is more accurate than {rival} (mean over the sparsities)",
                    holds=program.better(test),
                    measured={**program.summary(accuracy), "gain": test},
                    why=experiment.limits("a quarter of the width, 5,000 images, 4 epochs"),
                )
            )
    plot = program.plot_points(panels, "Equal Bits, Fig. 8: pruned networks, 1/32")
    return program.Findings(claims, {"runs": rows}, {"equal_bits_fig8": plot})


if __name__ == "__main__":
    main()
