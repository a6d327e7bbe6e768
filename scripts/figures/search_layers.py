"""Searches a bit ratio for each layer of ResNet-20, and writes every trial to docs/data/layers-search.csv.

keras-tuner's Bayesian optimisation chooses among five ratios for each of the 18 binary kernels by the accuracy on
held-out images. The best set is trained with fresh seeds beside one half everywhere by `run_queue.py --group layers`.
A search that was broken off goes on.
"""

import os
from pathlib import Path

import click
import plan
from run_queue import ROOT

from larq_equalbits import _files
from larq_equalbits._text import csv_table
from larq_equalbits.cli import run_command

TRIALS = 12


@click.command(context_settings={"show_default": True})
@click.option("--data-dir", type=click.Path(path_type=Path), help="The tfds folder of the data.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=ROOT / "runs" / "layers", help="The search's folder."
)
@click.option("--core", type=click.IntRange(0), help="The only core to use.")
def main(data_dir: Path | None, out: Path, core: int | None) -> None:
    """Search, and write the trials."""
    import tensorflow as tf

    from larq_equalbits import training, tuning

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if core is not None:
        os.sched_setaffinity(0, {core})
    fields = {**plan.COMMON, "train_images": 12_500, "validation_fraction": 0.2, "seed": 100, "epochs": 3}
    settings = training.Settings(**fields, data_dir=None if data_dir is None else str(data_dir))
    hypermodel = tuning.HyperModel(
        settings.model, settings, per_layer=True, ratios=[0.4, 0.45, 0.5, 0.55, 0.6]
    )
    search = tuning.BayesianOptimization(
        hypermodel, out=out, objective="val_accuracy", max_trials=TRIALS, seed=0
    )
    search.search()
    trials = [trial for trial in search.trials() if trial.score is not None]
    layers = sorted(name for name in trials[0].values if name.startswith("positive_ratio/"))
    rows = [
        {
            "val_accuracy": f"{trial.score:.4f}",
            **{name.removeprefix("positive_ratio/"): trial.values[name] for name in layers},
        }
        for trial in trials
    ]
    _files.write_text(plan.SEARCH, csv_table(rows))


if __name__ == "__main__":
    run_command(main)
