"""Times quantizers alone, forward, in processor time, against Larq's ste_sign in one run: medians and their ratio.

They are called as a training step calls them, by a function that XLA does not compile as a whole.
"""

import argparse

import larq_equalbits  # isort: skip  # selects Keras 2 before Larq is imported
import larq as lq
import tensorflow as tf
import turns

assert larq_equalbits.__version__

SHAPES = {"3x3x512x512": (3, 3, 512, 512), "16384x256": (16384, 256), "3x3x64x64": (3, 3, 64, 64)}


def traced(alias, kernel):
    quantizer = lq.quantizers.get(alias)
    function = tf.function(lambda kernel: quantizer(kernel))
    return lambda: function(kernel).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="3x3x512x512", help="kernel (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=50, help="timed calls of each (default %(default)s)")
    arguments = parser.parse_args()
    kernel = tf.random.stateless_normal(SHAPES[arguments.shape], [0, 1]) * 0.02
    functions = {alias: traced(alias, kernel) for alias in ("ste_sign", "bi_half", "siman")}
    medians = turns.medians(functions, arguments.repeats, turns.PROCESSOR)
    for alias, median in medians.items():
        print(f"{alias:10s} {1e3 * median:8.2f} ms  {median / medians['ste_sign']:6.2f} of ste_sign")


if __name__ == "__main__":
    main()
