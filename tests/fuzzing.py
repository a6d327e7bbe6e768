"""Damaged run folders and odd command lines, run one after the other in this process: `test_fuzz` starts it.

``python fuzzing.py KIND SEED FIRST LAST FOLDER`` runs the cases FIRST to LAST of KIND ("folders", "sweeps" or "lines"),
each by the seed SEED and its number alone, and writes a line of JSON before and after each to ``FOLDER/KIND.jsonl``: so
that whoever started it knows the case in which it died.
"""

import contextlib
import faulthandler
import gc
import io
import json
import math
import os
import random
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path

import click
import numpy as np

import larq_equalbits.cli as cli

# Seconds for one command; on a busy machine a sound one takes less than a tenth of it.
LIMIT = 300
JUNK_TEXTS = ("", "x", "\x1b[31m", "[/x]", "../..")
JUNK = (None, {}, [], [[[]]], {"a": {}}, *JUNK_TEXTS, -1, 0, 1e308, math.nan, True, 10**20)
# Texts that any option and any cell may be given.
WORDS = ("", ".", "..", "a\nb", "[/x]", "\x1b[2J", "x" * 300, "'", "none", ",", "a/b")
ODD = (*WORDS, "-1", "0", "nan", "1e308", "9" * 20)
TEXTS = (*ODD, "inf", "٣")
SMALL = ("--epochs", "1", "--batch-size", "32", "--train-images", "64", "--model-option", "width=0.1")


@click.command()
@click.argument("command")
@click.argument("folder")
def load(command, folder):
    """What a program that reads a run does."""
    from larq_equalbits import training

    cli.start()
    training.Run.load(folder).load_model()


class HungError(BaseException):
    """A command that did not end in time."""


def tree(folder):
    """Every file below `folder`, with what is in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def run(arguments):
    """Runs the program in this process; its exit status, the end of what it said, and its fault, if there is one."""

    def hung(*_):
        raise HungError

    sys.argv = ["larq-equalbits", *map(str, arguments)]
    said = io.StringIO()
    signal.signal(signal.SIGALRM, hung)
    signal.alarm(LIMIT)
    # For what never comes back to Python.
    faulthandler.dump_traceback_later(2 * LIMIT, exit=True)
    status, fault = None, ""
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            cli.run_command(load if arguments[0] == "load" else cli.program)
    except SystemExit as end:
        status = 0 if end.code is None else end.code
    except HungError:
        fault = f"no end within {LIMIT} s"
    except BaseException as error:
        fault = f"traceback: {type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    if not fault and status not in (0, 1, 2):
        fault = f"exit status {status}"
    if not fault and "Traceback" in said.getvalue():
        fault = "traceback in the output"
    if not fault and status and not said.getvalue().strip():
        fault = f"exit status {status} without a word"
    return {"status": status, "said": said.getvalue()[-300:], "fault": fault}


def flipped(rng, content):
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def changed_json(rng, content):
    """The JSON with one value, at any depth, taken out or of another type."""
    root = [json.loads(content)]
    holder, key = root, 0
    while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.8:
        holder = holder[key]
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    if rng.random() < 0.2 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = rng.choice(JUNK)
    return json.dumps(root[0]).encode()


def changed_zip(rng, content):
    """The archive with one member damaged or left out, sound as an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    if rng.random() < 0.2:
        del members[name]
    elif name == "state.json.npy":
        stored = np.load(io.BytesIO(members[name])).tobytes()
        written = io.BytesIO()
        np.save(written, np.frombuffer(changed_json(rng, stored), np.uint8))
        members[name] = written.getvalue()
    elif name.endswith(".json"):
        members[name] = changed_json(rng, members[name])
    else:
        members[name] = flipped(rng, members[name])
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for each, value in members.items():
            archive.writestr(each, value)
    return written.getvalue()


def changed_csv(rng, content):
    rows = [line.split(",") for line in content.decode().splitlines()]
    row = rng.choice(rows)
    row[rng.randrange(len(row))] = rng.choice(TEXTS)
    return "\n".join(map(",".join, rows)).encode()


def damage(rng, path):
    content = path.read_bytes()
    ways = [
        lambda: flipped(rng, content),
        lambda: content[: rng.randrange(len(content) + 1)],
        lambda: content + content[: rng.randrange(100)],
        lambda: rng.randbytes(rng.choice((0, 1, 300))),
        lambda: b"[" * 100_000,
    ]
    own = {".json": changed_json, ".keras": changed_zip, ".npz": changed_zip, ".csv": changed_csv}
    if path.suffix in own:
        ways += [lambda: own[path.suffix](rng, content)] * 6
    path.write_bytes(rng.choice(ways)())


RESUME = ("train", "--resume", "--quiet", "--out")
ONCE = ("--images", "2", "--repeats", "1", "--rounds", "1")
DEVICE = ("device", *ONCE, "--no-profile")
CONVERT = ("convert", "--no-verify")
# The files of a run, and what reads each; "load" is `training.Run.load`.
READERS = {
    "settings.json": (("report",), CONVERT, ("verify",), DEVICE, RESUME, ("load",)),
    "history.csv": (("report",), RESUME, ("load",)),
    "results.json": (("report",), ("load",)),
    "model.keras": (("report",), CONVERT, ("verify",), DEVICE, RESUME, ("load",)),
    "best.keras": ((*CONVERT, "--best"), ("verify", "--best")),
    "checkpoint/state.npz": (RESUME, ("load",)),
    "model.tflite": (("inspect",), DEVICE, ("verify",), ("report",), CONVERT),
    "model.json": (("report",), CONVERT, ("verify",), DEVICE),
    "report.html": (("report",),),
    "device/report.json": (("report",),),
}
SWEEP = ("sweep", *SMALL, "--ratios", "0.4,0.5", "--quiet", "--out")
# The same of a sweep.
SWEEP_READERS = {
    "sweep.json": (("sweep", "--report", "--out"), ("report",), SWEEP),
    "oracle.json": (SWEEP, ("sweep", "--report", "--out")),
    "tuner.json": (SWEEP,),
    "trials.json": (("report",),),
    "trials.csv": (("report",), SWEEP),
    "ratios.png": (("report",),),
    "trial_0/trial.json": (("sweep", "--report", "--out"), SWEEP, (*SWEEP[:-1], "--retry-failed", "--out")),
    "trial_0/trial_results.json": (("sweep", "--report", "--out"), SWEEP),
    "trial_0/trial_values.json": (SWEEP,),
    "trial_1/settings.json": (SWEEP, ("sweep", "--report", "--out")),
    "trial_1/history.csv": (SWEEP, ("sweep", "--report", "--out")),
}
# What a command may write into a run folder where it succeeds.
WRITTEN = {
    "report": ("report.html",),
    "convert": ("model.tflite", "model.json"),
    "verify": (),
    "device": ("device/",),
    "inspect": (),
    "load": (),
    "sweep": ("",),
    "train": ("model.keras", "best.keras", "history.csv", "results.json", "checkpoint/", "logs/"),
}


def damaged_folder(rng, base, kind):
    """One case: a folder of a run or a sweep with one or two damaged files, and a command on it."""
    readers = READERS if kind == "run" else SWEEP_READERS
    place = base / "case"
    folder = place / "run"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base / kind, folder, symlinks=True)
    (place / "neighbour.txt").write_text("mine")
    (folder / "notes.txt").write_text("mine")
    if kind == "sweep" and rng.random() < 0.5:
        # As a kill leaves it, so the sweep goes on.
        state = folder / "trial_1" / "trial.json"
        state.write_text(state.read_text().replace("COMPLETED", "RUNNING"))
        (folder / "trial_1" / "trial_results.json").unlink()
    names = rng.sample(sorted(readers), rng.choice((1, 1, 2)))
    for name in names:
        damage(rng, folder / name)
    if "model.tflite" in names and rng.random() < 0.5:
        (folder / "model.json").unlink()
    command, *options = rng.choice(readers[names[0]])
    target = folder / "model.tflite" if command == "inspect" else folder
    before = tree(place)
    found = run([command, *options, target])
    after = tree(place)
    allowed = WRITTEN[command] if found["status"] == 0 or command in ("train", "sweep") else ()
    touched = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    for name in sorted(touched):
        ours = tuple(f"run/{each}" for each in allowed)
        if name == "run/notes.txt" or not name.startswith(ours):
            found["fault"] = found["fault"] or f"{name} was changed"
    return {"command": [command, *options], "damaged": names, **found}


INTEGERS = (*ODD, "1", "1e3", "1.5", "٣")
NUMBERS = (*ODD, "inf", "-inf", "0.5", "-1e308", "1,2", "1e-400")
PATHS = (*ODD, "mine", "mine/notes.txt", "mine/model.tflite", "/dev/null/x", "run", "~")
WIDTHS = ("1e9", "nan", "-1", "[]", "{}", "9" * 30)
PAIRS = (*ODD, "=", "=1", 'a={"b":', *(f"width={each}" for each in WIDTHS))
RATIOS = (*ODD, "0:1:1e-9", "0:1:0", "1:0:0.1", "0.5:0.5:inf", "2", "0.5,0.5", "a:b:c", "::", "1e400")
TARGETS = ("local", "", "ssh:", "ssh:@", "ssh: ", "adb:a b", "nowhere", "program", "ssh:-oProxyCommand=x@h")
NAMES = (*ODD, "conv2", "conv", "ste_sign", "bi_half", "tfds:", "tfds:../..")


def values(option):
    """What an option may be given, by its type and name."""
    name, kind = option.opts[-1], type(option.type).__name__
    if name in ("--ratios", "--model-option", "--quantizer-option", "--on"):
        return {"--ratios": RATIOS, "--on": TARGETS}.get(name, PAIRS)
    if kind.startswith("Int"):
        return INTEGERS
    numbers = ("--milestones", "--estimator", "--percentile", "--score-sparsity")
    if kind.startswith("Float") or name in numbers:
        return NUMBERS
    return PATHS if kind == "Path" else NAMES


def command_line(rng, base):
    """One case: a command with up to four options of odd values, among things of a user's."""
    place = base / "case"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base / "run", place / "run")
    (place / "mine").mkdir()
    for name in ("notes.txt", "model.json", "model.tflite", "settings.json"):
        (place / "mine" / name).write_text("{}")
    os.chdir(place)
    name = rng.choice([*cli.COMMANDS])
    command = cli.program.get_command(None, name)
    quick = {"train": SMALL, "sweep": (*SMALL, "--ratios", "0.5"), "device": ONCE}
    line = [name, *quick.get(name, ())]
    # Nothing is downloaded, and no run of the case's own is replaced unasked.
    usable = [each for each in command.params if each.opts[-1] not in ("--download", "--overwrite")]
    for option in rng.sample(usable, min(len(usable), rng.choice((1, 1, 2, 4)))):
        if option.param_type_name == "argument":
            continue
        line.append(option.opts[-1])
        if not option.is_flag:
            line.append(rng.choice(values(option)))
    if any(each.param_type_name == "argument" for each in command.params) and rng.random() < 0.95:
        line.append("run" if rng.random() < 0.7 else rng.choice(PATHS))
    before = tree(place)
    found = run(line)
    after = tree(place)
    reads = found["status"] or name in ("verify", "inspect", "doctor")
    for path in sorted(path for path in before if reads or path.startswith("mine/")):
        # A resumed run may write on before it fails.
        if before[path] != after.get(path) and not (name == "train" and path.startswith("run/")):
            found["fault"] = found["fault"] or f"{path} was changed"
    return {"command": line, **found}


def main(kind, seed, first, last, folder):
    import tensorflow as tf

    base = Path(folder)
    make = {
        "folders": lambda rng, base: damaged_folder(rng, base, "run"),
        "sweeps": lambda rng, base: damaged_folder(rng, base, "sweep"),
        "lines": command_line,
    }[kind]
    with (base / f"{kind}.jsonl").open("a") as log:
        for number in range(int(first), int(last)):
            print(json.dumps({"begun": number}), file=log, flush=True)
            begun = time.monotonic()
            found = make(random.Random(f"{kind}-{seed}-{number}"), base)
            seconds = round(time.monotonic() - begun, 1)
            print(json.dumps({"case": number, "seconds": seconds, **found}), file=log, flush=True)
            tf.keras.backend.clear_session()
            gc.collect()


if __name__ == "__main__":
    main(*sys.argv[1:])
