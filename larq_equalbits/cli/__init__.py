"""The command `larq-equalbits`: each subcommand is a module of this folder, loaded when it is called."""

import difflib
import errno
import importlib
import io
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import click

import larq_equalbits
from larq_equalbits._errors import InputError, WorkError
from larq_equalbits._quiet import be_verbose, waiting
from larq_equalbits._text import visible
from larq_equalbits._version import VERSION

COMMANDS: dict[str, str] = {
    "train": "Train a binary network by a paper's recipe.",
    "sweep": "Train over a grid of bit ratios, resumable and in parallel.",
    "convert": "Convert a run or a model to a verified .tflite.",
    "inspect": "Show what a .tflite file is made of, and what is binary in it.",
    "verify": "Compare a .tflite with its Keras model on real images.",
    "report": "Write a self-contained page about a run.",
    "device": "Run converted models here, on a Raspberry Pi or on a phone.",
    "doctor": "Check the installation: versions, Keras choice, converter, interpreter.",
}

_LONGEST = 2000
# No room on the disk or within its quota, a file beyond what the system lets it grow to, a disk that fails.
_NO_INPUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def start() -> None:
    """Loads TensorFlow and registers the package's names, without TensorFlow's start-up messages."""
    with waiting("Loading TensorFlow"):
        larq_equalbits._register()
        import tensorflow as tf

        # What is said about devices is said when they are first looked at; one machine of many must not look yet.
        if "TF_CONFIG" not in os.environ:
            tf.config.list_logical_devices()


class _LazyGroup(click.Group):
    """Loads a subcommand's module only when it is asked for; the list of commands needs no import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"larq_equalbits.cli.{cmd_name}").command
        command.name = cmd_name
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            # By its name, for bad input is answered before TensorFlow loads.
            if not (isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"):
                raise
            reason = (str(error).strip() or "no more can be had").splitlines()[0]
            raise WorkError(f"the memory does not suffice: {reason}") from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"{error.message} Did you mean {near[0]}?" if near else error.message)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="larq-equalbits")
@click.option("--verbose", is_flag=True, help="Show TensorFlow's own start-up messages.")
def program(verbose: bool) -> None:
    """Train binary networks with exact bit ratios, and ship them verified.

    \b
    A first round, without a download:
      larq-equalbits train --model conv2 --dataset digits --epochs 30 --name first
      larq-equalbits convert runs/first
      larq-equalbits device runs/first --on local

    Exit status: 0 done, 1 the work failed (the message says how), 2 bad input, 130 stopped by Ctrl-C.

    \b
    Shell completion:
      eval "$(_LARQ_EQUALBITS_COMPLETE=bash_source larq-equalbits)"
    """
    if verbose:
        be_verbose()


def _said(error: Exception) -> str:
    """What is said of `error`: of one of the system's about a path, the path first and what would be right."""
    if not (isinstance(error, OSError) and error.strerror):
        return str(error)
    if error.filename is None:
        return error.strerror
    remedy = {
        errno.EEXIST: ": a folder is needed there",
        errno.ENOTDIR: ": all before the last name must be folders",
        errno.EISDIR: ": a file is needed there",
        errno.ENAMETOOLONG: ": choose a shorter one",
        errno.ELOOP: ": a link that leads somewhere is needed",
    }
    return f"{error.filename}: {error.strerror}{remedy.get(error.errno or 0, '')}"


def run_command(command: click.Command) -> None:
    """Runs `command` on the program's arguments.

    Bad input, a path that is not there or may not be written among it, gives one line on standard error and exit
    status 2; work that failed the same with status 1, be it that the disk was full or a connection lost. Ctrl-C gives
    status 130.
    """
    try:
        status = command.main(standalone_mode=False)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo("\n".join(map(visible, said.getvalue().rstrip("\n").split("\n"))), err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        name = Path(sys.argv[0]).name
        click.echo(
            f"{name}: stopped; what was finished is kept. To go on: train with --resume, sweep with the same command.",
            err=True,
        )
        sys.exit(130)
    except (InputError, WorkError, OSError, ImportError) as error:
        text = _said(error)
        if len(text) > 2 * _LONGEST:
            # A file may hold names of megabytes.
            text = f"{text[:_LONGEST]} ... {text[-_LONGEST:]}"
        click.echo(f"{Path(sys.argv[0]).name}: {visible(text)}", err=True)
        failed = isinstance(error, WorkError | ConnectionError | TimeoutError)
        sys.exit(1 if failed or getattr(error, "errno", None) in _NO_INPUT else 2)
    sys.exit(status if isinstance(status, int) else 0)


def main() -> None:
    """The program `larq-equalbits`."""
    # A line for the user, without the place in the code.
    warnings.formatwarning = lambda message, *_, **__: f"larq-equalbits: {visible(message)}\n"
    run_command(program)
