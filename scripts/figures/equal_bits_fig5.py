"""Equal Bits, Fig. 5: test accuracy against the share of +1."""

import itertools

import numpy as np
import program


@program.figure_program
def main(experiment: program.Experiment) -> program.Findings:
    """Equal Bits, Fig. 5: which bit ratio is best, Conv2 with binary weights, and with binary activations too.

    The paper does not say which of the two it shows, and they differ: after a ReLU no input is negative, so every
    other ratio than one half adds the sum of all inputs to each output, the same for all filters.
    """
    ratios = (0.1, 0.3, 0.5, 0.7, 0.9) if experiment.quick else tuple(i / 10 for i in range(1, 10))
    datasets = ("cifar10",) if experiment.quick else ("cifar10", "cifar100")
    rows, panels, claims = [], {}, []
    for dataset, bits in itertools.product(datasets, ("1/32", "1/1")):
        setting = f"{dataset}, {bits}"
        variants = {
            str(ratio): {
                "dataset": dataset,
                "quantizer": "bi_half",
                "quantizer_options": {} if ratio == 0.5 else {"positive_ratio": ratio},
                "binarize_activations": bits == "1/1",
            }
            for ratio in ratios
        }
        grid = experiment.grid(variants, 1, 5)
        accuracy = program.finals(grid)
        rows += program.final_rows(grid, dataset=dataset, bits=bits)
        panels[f"test accuracy, {setting}"] = accuracy
        means = {name: float(np.mean(each)) for name, each in accuracy.items()}
        best = max(means, key=lambda name: means[name])
        outer = [np.mean(pair) for pair in zip(accuracy["0.1"], accuracy["0.9"], strict=True)]
        test = program.paired(accuracy["0.5"], outer)
        # Neighbours of one half count as the peak only where more ratios were tried than these.
        near = abs(float(best) - 0.5) < 0.11
        told = len(accuracy["0.5"]) >= 3
        claims += [
            program.Claim(
                f"{setting}: accuracy peaks at or near one half",
                holds=near if told else None,
                measured={"best_ratio": float(best), "accuracy": program.summary(accuracy)},
                paper={"best_ratio": 0.5},
                why="" if told else "fewer than 3 seeds cannot tell neighbouring ratios apart",
            ),
            program.Claim(
                f"{setting}: one half is better than 0.1 and 0.9 (their mean, paired over the seeds)",
                holds=program.better(test),
                measured=test,
                why="" if told else "fewer than 3 seeds",
            ),
        ]
    plot = program.plot_points(panels, "Equal Bits, Fig. 5: accuracy by share of +1")
    return program.Findings(claims, {"runs": rows}, {"equal_bits_fig5": plot})


if __name__ == "__main__":
    main()
