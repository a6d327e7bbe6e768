"""Equal Bits, Fig. 4: repeated runs of Conv2, the optimal transport of bi_half against the plain sign."""

from pathlib import Path

from program import (
    Claim,
    Experiment,
    better,
    figure_program,
    final_rows,
    finals,
    last,
    paired,
    plot_points,
    summary,
    write_csv,
    write_plot,
    write_verdicts,
)

PAPER_REPETITIONS = 100
QUICK_REPETITIONS = 3


@figure_program
def main(out: Path, experiment: Experiment, seeds: int | None) -> None:
    """Equal Bits, Fig. 4: distribution of loss and accuracy over repeated runs, bi_half against sign."""
    variants = {
        f"{quantizer} {bits}": {"quantizer": quantizer, "binarize_activations": bits == "1/1"}
        for bits in ("1/32", "1/1")
        for quantizer in ("bi_half", "ste_sign")
    }
    grid = experiment.grid(variants, seeds or (QUICK_REPETITIONS if experiment.quick else PAPER_REPETITIONS))
    write_csv(out / "runs.csv", final_rows(grid))
    accuracy, loss = finals(grid), last(grid, "loss")
    write_plot(
        plot_points(
            {"test accuracy": accuracy, "training loss": loss}, "Equal Bits, Fig. 4: Conv2 on repeated runs"
        ),
        out / "equal_bits_fig4.png",
    )
    why = "a quarter of the width, 5,000 images and 4 epochs" if experiment.quick else ""
    claims = []
    for bits in ("1/32", "1/1"):
        for words, values, sign in (("higher test accuracy", accuracy, 1), ("lower training loss", loss, -1)):
            half, plain = f"bi_half {bits}", f"ste_sign {bits}"
            test = paired([sign * x for x in values[half]], [sign * x for x in values[plain]])
            claims.append(
                Claim(
                    f"Conv2 {bits}: bi_half reaches {words} than sign (paired over the seeds)",
                    holds=better(test),
                    measured={**summary({half: values[half], plain: values[plain]}), "gain": test},
                    why=why,
                )
            )
    write_verdicts(out, claims)


if __name__ == "__main__":
    main()
