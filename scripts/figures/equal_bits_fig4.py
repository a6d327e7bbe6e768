"""Equal Bits, Fig. 4: repeated runs of Conv2, the optimal transport of bi_half against the plain sign."""

from pathlib import Path

import program

PAPER_REPETITIONS = 100
QUICK_REPETITIONS = 3


@program.figure_program
def main(out: Path, experiment: program.Experiment, seeds: int | None) -> None:
    """Equal Bits, Fig. 4: distribution of loss and accuracy over repeated runs, bi_half against sign."""
    variants = {
        f"{quantizer} {bits}": {"quantizer": quantizer, "binarize_activations": bits == "1/1"}
        for bits in ("1/32", "1/1")
        for quantizer in ("bi_half", "ste_sign")
    }
    grid = experiment.grid(variants, seeds or (QUICK_REPETITIONS if experiment.quick else PAPER_REPETITIONS))
    program.write_csv(out / "runs.csv", program.final_rows(grid))
    accuracy, loss = program.finals(grid), program.last(grid, "loss")
    program.write_plot(
        program.plot_points(
            {"test accuracy": accuracy, "training loss": loss}, "Equal Bits, Fig. 4: Conv2 on repeated runs"
        ),
        out / "equal_bits_fig4.png",
    )
    why = "a quarter of the width, 5,000 images and 4 epochs" if experiment.quick else ""
    claims = []
    for bits in ("1/32", "1/1"):
        half, plain = f"bi_half {bits}", f"ste_sign {bits}"
        for words, values, pair in (
            ("higher test accuracy", accuracy, (half, plain)),
            ("lower training loss", loss, (plain, half)),
        ):
            sentence = f"Conv2 {bits}: bi_half reaches {words} than sign (paired over the seeds)"
            claims += program.comparisons(values, {sentence: pair}, why=why)
    program.write_verdicts(out, claims)


if __name__ == "__main__":
    main()
