"""Equal Bits, Fig. 4: repeated runs of Conv2, the optimal transport of bi_half against the plain sign."""

import program

PAPER_REPETITIONS = 100
QUICK_REPETITIONS = 3


@program.figure_program
def main(experiment: program.Experiment) -> program.Findings:
    """Equal Bits, Fig. 4: distribution of loss and accuracy over repeated runs, bi_half against sign."""
    variants = {
        f"{quantizer} {bits}": {"quantizer": quantizer, "binarize_activations": bits == "1/1"}
        for bits in ("1/32", "1/1")
        for quantizer in ("bi_half", "ste_sign")
    }
    grid = experiment.grid(variants, QUICK_REPETITIONS, PAPER_REPETITIONS)
    accuracy, loss = program.finals(grid), program.last(grid, "loss")
    panels = {"test accuracy": accuracy, "training loss": loss}
    why = experiment.limits("a quarter of the width, 5,000 images and 4 epochs")
    claims = []
    for bits in ("1/32", "1/1"):
        half, plain = f"bi_half {bits}", f"ste_sign {bits}"
        for words, values, pair in (
            ("higher test accuracy", accuracy, (half, plain)),
            ("lower training loss", loss, (plain, half)),
        ):
            sentence = f"Conv2 {bits}: bi_half reaches {words} than sign (paired over the seeds)"
            claims += program.comparisons(values, {sentence: pair}, why=why)
    return program.Findings(
        claims,
        {"runs": program.final_rows(grid)},
        {"equal_bits_fig4": program.plot_points(panels, "Equal Bits, Fig. 4: Conv2 on repeated runs")},
    )


if __name__ == "__main__":
    main()
