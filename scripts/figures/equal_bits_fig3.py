"""Equal Bits, Fig. 3: weight decay and the decay of the learning rate steer how many bits flip."""

import program

DECAYS = (0.0, 5e-4, 5e-3)


@program.figure_program
def main(experiment: program.Experiment) -> program.Findings:
    """Equal Bits, Fig. 3: weight decay and learning-rate decay against bit flips, Conv2, binary weights."""
    shared = {"quantizer": "bi_half", "binarize_activations": False}
    decays = {f"weight decay {decay:g}": {**shared, "weight_decay": decay} for decay in DECAYS}
    rates = {
        "constant rate": {**shared, "schedule": "constant"},
        "steps": shared,
        "cosine": {**shared, "schedule": "cosine"},
    }
    grid = experiment.grid({**decays, **rates})
    left = {name: grid[name] for name in decays}
    right = {name: grid[name] for name in rates}
    label = "share of bits that flipped"
    panels = {label: (left, "bit_flips"), f"{label} ": (right, "bit_flips")}
    total = {name: [sum(run.history["bit_flips"]) for run in runs] for name, runs in left.items()}
    none, paper, most = decays
    why = experiment.limits("a quarter of the width, 5,000 images and 4 epochs")
    more = {
        f"more flips for each bit with {paper} than without": (paper, none),
        f"more flips for each bit with {most} than with {paper}": (most, paper),
    }
    constant = "constant rate"
    fewer = {
        f"fewer flips in the last epoch with {decaying} than with a {constant}": (constant, decaying)
        for decaying in ("steps", "cosine")
    }
    return program.Findings(
        [
            *program.comparisons(total, more, why=why),
            *program.comparisons(program.last(right, "bit_flips"), fewer, why=why),
        ],
        {"epochs": program.epoch_rows(grid, ("bit_flips", "learning_rate", "accuracy"))},
        {"equal_bits_fig3": program.plot_epochs(panels, "Equal Bits, Fig. 3: bit flips")},
    )


if __name__ == "__main__":
    main()
