"""`larq-equalbits sweep`: which bit ratio? A grid over ratios and seeds."""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from larq_equalbits import _choices, _files
from larq_equalbits._errors import InputError, invalid, is_number
from larq_equalbits._text import visible
from larq_equalbits.cli import names, start, train

_ALGORITHMS = {"random": "RandomSearch", "bayesian": "BayesianOptimization", "hyperband": "Hyperband"}
_NOT_TRAINING = {"nondeterministic", "strategy", "resume"}


def _workers(_: click.Context, __: click.Parameter, text: str) -> int | str:
    if text != "auto" and not (text.isdecimal() and 1 <= int(text) <= _choices.MOST_WORKERS):
        raise invalid("--workers", text, f"a number from 1 to {_choices.MOST_WORKERS}, or auto")
    return text if text == "auto" else int(text)


def _quantizers(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[str, ...] | None:
    name = names.Name(_choices.QUANTIZERS)
    if text is None:
        return None
    return tuple(name.convert(each, parameter, context) for each in text.split(","))


def _sparsities(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    numbers = train._numbers(context, parameter, text)
    if not all(0 <= each < 1 for each in numbers or ()):
        raise invalid("--sparsities", text, "numbers from 0 to below 1 with commas between")
    return numbers


def _goals(
    context: click.Context, parameter: click.Parameter, goals: tuple[str, ...]
) -> str | dict[str, float]:
    """One name, or the weights of several."""
    if len(goals) == 1:
        return goals[0]
    weights = {}
    for goal in goals:
        name, _, weight = goal.partition("=")
        try:
            weights[name] = float(weight)
        except ValueError as error:
            raise invalid("--objective", goal, "NAME=WEIGHT where there are several") from error
    return weights


@click.command("sweep", context_settings={"show_default": True})
@click.option(
    "--ratios",
    default="0.1:0.9:0.1",
    callback=lambda _, __, text: _choices.ratios(text),
    help="first:last:step, or numbers with commas between.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 10_000),
    default=1,
    help="Seeds for each ratio: --seed and those after it.",
)
@click.option(
    "--workers",
    metavar="N|auto",
    default="1",
    callback=_workers,
    help="Trials at a time, each in a process with its share of the processors or a GPU; auto: as many as there are.",
)
@click.option(
    "--search",
    "algorithm",
    type=click.Choice(["grid", *_ALGORITHMS]),
    default="grid",
    help="Every ratio with every seed, or what an algorithm of keras-tuner chooses among them.",
)
@click.option("--max-trials", type=click.IntRange(1), help="Of random and bayesian.  [default: 10]")
@click.option("--per-layer", is_flag=True, help="A ratio for each layer. Not for grid.")
@click.option(
    "--quantizers", metavar="NAME,...", callback=_quantizers, help="Choose the quantizer too. Not for grid."
)
@click.option(
    "--sparsities",
    metavar="NUMBER,...",
    callback=_sparsities,
    help="Choose the fraction of zeros too, that of each layer with --per-layer. Not for grid.",
)
@click.option(
    "--objective",
    "goals",
    metavar="NAME[=WEIGHT]",
    multiple=True,
    default=("val_accuracy",),
    callback=_goals,
    help="What the best trial is best in: a key of history.csv or results.json, tflite_bytes or instructions. "
    "Several with weights are added up.",
)
@click.option(
    "--direction",
    type=click.Choice(["min", "max"]),
    help="min or max, where the objective's name does not tell.",
)
@click.option("--download", is_flag=True, help="Download and prepare the data set if it is missing.")
@click.option("--name", help="Of the sweep: its folder is runs/NAME.  [default: sweep-MODEL-DATASET]")
@click.option("--out", type=click.Path(path_type=Path), help="The sweep's folder, in place of runs/NAME.")
@click.option("--overwrite", is_flag=True, help="Replace the sweep that is in the folder.")
@click.option(
    "--report", is_flag=True, help="Train nothing: show the sweep that is in the folder, a running one too."
)
@click.option(
    "--reference",
    type=click.FloatRange(0, 1),
    metavar="RATIO",
    help="Compare the other ratios with this one, seed by seed.  [default: 0.5 where the sweep has it]",
)
@click.option(
    "--full",
    is_flag=True,
    help="Save each trial's models every epoch, with TensorBoard's logs, as train does, not at its end alone.",
)
@click.option("--retry-failed", is_flag=True, help="Run the trials that have failed again.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    ratios: tuple[float, ...],
    repeats: int,
    workers: int | str,
    algorithm: str,
    max_trials: int | None,
    per_layer: bool,
    quantizers: tuple[str, ...] | None,
    sparsities: tuple[float, ...] | None,
    goals: str | dict[str, float],
    direction: str | None,
    download: bool,
    name: str | None,
    out: Path | None,
    overwrite: bool,
    reference: float | None,
    report: bool,
    full: bool,
    retry_failed: bool,
    quiet: bool,
    as_json: bool,
    float_activations: bool,
    **given: Any,
) -> None:
    """Train a network with several shares of +1 and seeds, and show which is best (Equal Bits, Fig. 5).

    \b
    Nine ratios, five seeds each, two at a time, on images that need no download:
      larq-equalbits sweep --model conv2 --dataset digits --ratios 0.1:0.9:0.1 \\
        --repeats 5 --workers 2 --epochs 5 --name ratios
      larq-equalbits convert runs/ratios/best

    The same command again goes on after a kill: no finished trial is repeated. With further ratios, more
    repeats or a greater --max-trials it adds to the sweep that is there.

    \b
    A ratio for each layer, twenty times, by what the trials before have told:
      larq-equalbits sweep --model conv2 --dataset digits --ratios 0.3:0.7:0.1 \\
        --per-layer --search bayesian --max-trials 20 --epochs 5 --name layers

    The folder gets trials.csv and trials.json (every trial with its metrics), ratios.png (mean and deviation), a
    run folder for each trial, as `larq-equalbits train` makes it, and best, the best of them.

    \b
    Several machines that share the folder: the same command on each, with
      KERASTUNER_TUNER_ID=chief (on one more: it trains nothing), worker-0, ...
      KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT of the chief
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from larq_equalbits.training.settings import Settings

    fields = {key: value for key, value in given.items() if value is not None}
    if float_activations:
        fields["binarize_activations"] = False
    settings = Settings(**fields)
    folder = _folder(settings, name, out)
    only_searched = {"--per-layer": per_layer, "--quantizers": quantizers, "--sparsities": sparsities}
    for option, value in {**only_searched, "--max-trials": max_trials}.items():
        if value and (algorithm == "grid" or (algorithm, option) == ("hyperband", "--max-trials")):
            raise InputError(f"{option} needs another --search than {algorithm}.")
    if per_layer and reference is not None:
        raise InputError("--reference needs one ratio for all layers, not --per-layer.")
    for goal in [goals] if isinstance(goals, str) else goals:
        _choices.direction(goal, direction)
    settings.plan()
    if not (folder / _files.SWEEP).is_file():
        if report:
            raise InputError(
                f"--report needs the folder of a sweep, but there is no {folder / _files.SWEEP}."
            )
        # Among several machines another may be writing there.
        if "KERASTUNER_TUNER_ID" not in os.environ:
            _files.check_new_folder(folder)
    start()
    import tensorflow as tf

    from larq_equalbits import tuning
    from larq_equalbits.tuning import distributed

    # It says of every few trials that functions are traced again, which trials cannot but do.
    tf.get_logger().setLevel("ERROR")
    if report:
        _report(folder, reference, as_json)
        return
    role = distributed.role()
    if role != "single" and workers != 1:
        raise InputError(f"--workers must be 1 where KERASTUNER_TUNER_ID is set, but got {workers}.")
    hyper = tuning.HyperModel(
        settings.model,
        settings,
        ratios=ratios,
        per_layer=per_layer,
        seeds=range(settings.seed, settings.seed + repeats),
        quantizers=quantizers,
        sparsities=sparsities,
    )
    if download and role != "chief":
        hyper.check_data(download=True)
    common: dict[str, Any] = {
        "out": folder,
        "objective": tuning.objective(goals, direction),
        "overwrite": overwrite,
        "light": not full,
    }
    sweep: tuning.Search
    if algorithm == "grid":
        sweep = tuning.BitRatioSweep(hyper, **common)
    else:
        if algorithm == "hyperband":
            common["max_epochs"] = settings.plan().epochs
        elif max_trials is not None:
            common["max_trials"] = max_trials
        sweep = getattr(tuning, _ALGORITHMS[algorithm])(hyper, **common)
    if reference is not None and reference not in (sweep.hyper.ratios or ()):
        raise invalid("--reference", reference, f"one of the ratios {sweep.hyper.ratios}")
    sweep.search(
        workers=workers,
        retry_failed=retry_failed,
        verbose=0 if quiet else 1,
    )
    if role != "worker":
        found = sweep.trials()
        if reference is not None and reference not in _ratios(found):
            # An algorithm need not choose every ratio; what it trained is shown all the same.
            click.echo(f"no trial has the ratio {reference:g}, so none is compared with it", err=True)
            reference = None
        else:
            reference = _reference(found, reference)
        _print(folder, found, sweep.shown(), sweep.best_run(), reference, as_json)


def _folder(settings: Any, name: str | None, out: Path | None) -> Path:
    if out is not None:
        return out
    name = f"sweep-{settings.model}-{settings.dataset_name}" if name is None else name
    return Path("runs") / _files.plain_name("--name", name)


def _ratios(found: list[Any]) -> set[float | None]:
    return {trial.values.get("positive_ratio") for trial in found}


def _reference(found: list[Any], given: float | None) -> float | None:
    """The ratio that the others are compared with: the one given, or 0.5 where the sweep has it."""
    return 0.5 if given is None and 0.5 in _ratios(found) else given


def _print(
    folder: Path, found: list[Any], shown: list[str], best: Any, reference: float | None, as_json: bool
) -> None:
    from larq_equalbits.tuning import comparison, presentation, trials

    failed = [trial for trial in found if trial.status == "FAILED"]
    begun = {trial.name: _progress(trial) for trial in found if trial.status in ("RUNNING", "INVALID")}
    if as_json:
        result = {
            "folder": os.fspath(folder),
            "best": os.fspath(folder / "best") if best else None,
            "best_trial": best.folder.name if best else None,
            "trials": len(found),
            "begun": begun,
            "failed": {trial.name: trial.reason for trial in failed},
            "reference": reference,
            "compared": {
                metric: [dataclasses.asdict(each) for each in comparison.against(found, metric, reference)]
                for metric in shown
                if reference is not None
            },
            "ratios": [
                {
                    **each.to_dict(),
                    "mean": {key: each.mean.get(key) for key in shown},
                    "deviation": {key: each.to_dict()["deviation"].get(key) for key in shown},
                }
                for each in trials.by_ratio(found)
            ],
        }
        click.echo(json.dumps(result))
        return
    from rich.console import Console

    console = Console()
    # A search of a ratio for each layer, or of quantizers that have none, has no ratio to show.
    by_ratio = trials.by_ratio(found)
    if by_ratio or not found:
        console.print(presentation.table(found, shown))
    differences = (
        presentation.compared(found, shown[0], reference) if shown and reference is not None else None
    )
    if differences is not None:
        console.print(differences)
    for trial in failed:
        click.echo(f"{visible(trial.folder.name)} failed: {visible(trial.reason)}", err=True)
    if failed:
        click.echo("the same command with --retry-failed runs them again", err=True)
    for name, progress in begun.items():
        click.echo(f"trial_{visible(name)} has begun: {visible(progress)}")
    if best is not None:
        # What is in the folder need not be a finished run, or one of a sweep.
        ratio, accuracy = (
            best.settings.quantizer_options.get("positive_ratio"),
            best.results.get("test_accuracy"),
        )
        chosen = f"ratio {ratio:g}, " if is_number(ratio) else ""
        measured = "" if accuracy is None else f", accuracy on all test images {accuracy:.4f}"
        click.echo(
            f"{visible(folder / 'best')}: {chosen}seed {best.settings.seed}{measured}; every trial in "
            f"{visible(folder / trials.CSV)}"
        )
        if any(each.completed for each in by_ratio) and not (folder / trials.PLOT).exists():
            click.echo("no plot: pip install 'larq-equalbits[plots]'", err=True)
    sys.stdout.flush()


def _progress(trial: Any) -> str:
    """How far a trial is that has not ended."""
    from larq_equalbits import training

    values = ", ".join(f"{name} {value}" for name, value in trial.values.items())
    try:
        run = training.Run.load(trial.folder)
    except InputError:
        return values
    done = len(run.history.get("loss", ()))
    last = "".join(
        f", {name} {run.history[name][-1]:.4f}" for name in ("val_accuracy",) if name in run.history
    )
    return f"{values}: epoch {done} of {run.settings.plan().epochs}{last}"


def _report(folder: Path, reference: float | None, as_json: bool) -> None:
    from larq_equalbits import training
    from larq_equalbits.tuning import trials
    from larq_equalbits.tuning.folder import BEST, read

    try:
        description = read(folder)
    except InputError as error:
        raise InputError(f"--report needs the folder of a sweep, but {error}") from error
    found = trials.found(folder)
    best = training.Run.load(folder / BEST) if (folder / BEST).exists() else None
    _print(folder, found, trials.shown(found, description), best, _reference(found, reference), as_json)


# A trial is trained as `larq-equalbits train` does it, by the same options.
_OWN = _NOT_TRAINING | {option.name for option in command.params}
command.params.extend(option for option in train.command.params if option.name not in _OWN)
