"""A worker process on this machine: ``python -m larq_equalbits.tuning.worker FOLDER [DATA_DIR]``."""

import sys
from pathlib import Path

import tensorflow as tf

from larq_equalbits.tuning import algorithms
from larq_equalbits.tuning.distributed import GIVE_UP
from larq_equalbits.tuning.keras_2 import keras_tuner


def main() -> None:
    """Runs trials of the search in a folder until its chief has no more."""
    # It says of every few trials that functions are traced again, which trials cannot but do.
    tf.get_logger().setLevel("ERROR")
    folder, *rest = map(Path, sys.argv[1:])
    try:
        algorithms.from_folder(folder, *rest).search()
    except keras_tuner.errors.FatalError as error:
        print(str(error).replace("\n", " "), file=sys.stderr, flush=True)
        sys.exit(GIVE_UP)


if __name__ == "__main__":
    main()
