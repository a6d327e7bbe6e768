"""``python -m larq_equalbits``: the program `larq-equalbits`."""

from larq_equalbits.cli import main

main()
