"""The entropy of symbols that were counted."""

import math


def entropy(*counts: float) -> float:
    """The entropy in bits of a distribution over symbols: ``-sum(p * log2(p))`` with ``p = count / total``.

    Two equal counts give exactly 1.0; no observation at all gives 0.0.

    Examples:
        >>> entropy(8, 8), entropy(16, 0), round(entropy(4, 12), 4)
        (1.0, 0.0, 0.8113)
    """
    total = sum(counts)
    return abs(sum(n / total * math.log2(total / n) for n in counts if n)) if total else 0.0
