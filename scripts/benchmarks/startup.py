"""How long a start takes: importing larq_equalbits over importing larq, and the command line's --help.

Every start is a process of its own; the two imports take turns, and medians and their ratio are printed.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import click
import turns


@click.command()
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True, help="Starts of each kind.")
def main(repeats: int) -> None:
    """Measure start-up times in seconds."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = partial(
        subprocess.run, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    commands = {
        "import larq": (sys.executable, "-c", "import larq"),
        "import larq_equalbits": (sys.executable, "-c", "import larq_equalbits"),
        "larq-equalbits --help": (str(Path(sys.executable).parent / "larq-equalbits"), "--help"),
    }
    # The first turns fill the disk's cache.
    medians = turns.medians({name: partial(start, command) for name, command in commands.items()}, repeats)
    for name, seconds in medians.items():
        print(f"{name}: {seconds:.2f} s")
    print(f"ratio of the imports: {medians['import larq_equalbits'] / medians['import larq']:.3f}")


if __name__ == "__main__":
    main()
