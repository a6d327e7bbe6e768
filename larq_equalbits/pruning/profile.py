"""Lets `larq.models.summary` count the operations of a pruned layer."""

from typing import Any

import larq.models

from larq_equalbits.pruning.wrapper import PrunedBinary

_COUNTED = larq.models.mac_containing_layers


class _WrapsCounted(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, PrunedBinary) and isinstance(instance.layer, _COUNTED)


class _PrunedCounted(metaclass=_WrapsCounted):
    """Stands in Larq's list of layers with operations for the wrappers of such layers."""


def register() -> None:
    """Adds the wrappers to the layers whose multiply-accumulate operations Larq counts."""
    if _PrunedCounted not in larq.models.mac_containing_layers:
        larq.models.mac_containing_layers += (_PrunedCounted,)
        larq.models.op_count_supported_layer_types += (_PrunedCounted,)
