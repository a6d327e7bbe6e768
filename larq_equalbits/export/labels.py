"""Labels of images, as whatever compares answers with them takes them."""

import numpy as np

from larq_equalbits._errors import invalid


def class_numbers(labels: np.ndarray, classes: int) -> np.ndarray:
    """`labels` (n,) as whole numbers, each that of a class.

    Args:
        labels: integers, or floats that are whole.
        classes: of the model; with fewer than 2 its answers are no classes, and any whole number will do.

    Raises:
        InputError: no whole numbers, or one that is no class.
    """
    whole = labels.dtype.kind in "biu" or (
        labels.dtype.kind == "f" and (np.isfinite(labels) & (labels == np.floor(labels))).all()
    )
    if not whole:
        raise invalid("labels", f"an array of {labels.dtype}: {labels[:3]}...", "whole numbers")
    if classes > 1 and labels.size and not (labels.min() >= 0 and labels.max() < classes):
        found = [labels.min().item(), labels.max().item()]
        raise invalid("labels", found, f"from 0 to {classes - 1}, the classes of the model")
    return labels.astype(np.int64)
