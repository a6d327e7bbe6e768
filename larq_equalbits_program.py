"""Starts the program `larq-equalbits`.

It is a module of its own because ``import larq_equalbits`` loads TensorFlow, unless this module is there already: the
program's help takes a fraction of a second that way.
"""


def main() -> None:
    """Runs the program on its arguments."""
    from larq_equalbits.cli import main as run

    run()
