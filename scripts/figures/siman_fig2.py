"""SiMaN, Fig. 2: the share of +1 at the optimum, trained with and without l2 on the binary kernels."""

import numpy as np
from program import Claim, Experiment, Findings, figure_program

from larq_equalbits import theory
from larq_equalbits.plots import canvas

# The paper does not name the clamp to percentiles of its authors' code, which cuts off the tails of the theory.
VARIANTS = {
    "with l2": {"decay": "equal_bits", "percentile": 0.0},
    "without l2": {"decay": "siman", "percentile": 0.0},
    "with l2, clamped": {"decay": "equal_bits"},
    "without l2, clamped": {"decay": "siman"},
}
PAPER = {"with l2": 0.36, "without l2": 0.51, "with l2, clamped": 0.36, "without l2, clamped": 0.51}


def shares(run) -> list[float]:
    """The optimal share of +1 of every filter of every quantized kernel."""
    from larq_equalbits._bits.kernels import quantized_kernels

    found = []
    for kernel in quantized_kernels(run.load_model()):
        latent = kernel.latent()
        filters = latent.reshape(-1, latent.shape[-1]).T
        found += [theory.optimal_share(filter - filter.mean()) for filter in filters]
    return found


@figure_program
def main(experiment: Experiment) -> Findings:
    """SiMaN, Fig. 2: share of +1 at the optimum with and without l2, ResNet-20."""
    variants = {
        name: {
            "model": "resnet20",
            "recipe": "siman",
            "quantizer_options": {"encoding": "optimal"},
            **fields,
            **({"epochs": 10} if experiment.quick else {}),
        }
        for name, fields in VARIANTS.items()
    }
    grid = experiment.grid(variants, 1, 1)
    measured = {name: [share for run in runs for share in shares(run)] for name, runs in grid.items()}
    figure = canvas.figure(6, 3.6)
    axes = figure.subplots()
    for name, each in measured.items():
        axes.hist(each, bins=40, range=(0.2, 0.8), alpha=0.5, label=f"{name}: mean {np.mean(each):.3f}")
    axes.set(xlabel="share of +1 at the optimum of a filter", ylabel="filters", title="SiMaN, Fig. 2")
    axes.legend()
    claims = [
        Claim(
            f"ResNet-20 {name}: the share of +1 at the optimum comes to {PAPER[name]}",
            holds=None if experiment.quick else abs(float(np.mean(each)) - PAPER[name]) < 0.02,
            measured={"share": round(float(np.mean(each)), 4), "filters": len(each)},
            paper={"share": PAPER[name]},
            why=experiment.limits(
                "10 epochs leave the weights close to the distribution they were drawn from"
            ),
        )
        for name, each in measured.items()
    ]
    rows = [
        {"variant": name, "filter": place, "share": share}
        for name, each in measured.items()
        for place, share in enumerate(each)
    ]
    return Findings(claims, {"shares": rows}, {"siman_fig2": figure})


if __name__ == "__main__":
    main()
