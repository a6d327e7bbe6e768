"""One measurement: latency, operators, agreement with references, and what else is known of it."""

from dataclasses import dataclass, field

import numpy as np

from larq_equalbits.export.judging import Judge


@dataclass(frozen=True)
class Latency:
    """The time of one inference in milliseconds.

    Attributes:
        median_ms: the median; over rounds the median of theirs.
        mean_ms: the mean.
        std_ms: the standard deviation within a round.
        min_ms: the fastest inference.
        max_ms: the slowest inference.
        count: the number of inferences measured.
        statistic: "median", or "mean" where the program on the device prints no median: `median_ms` is then
            the median over the rounds of the mean within each.
        rounds_ms: what each round gave for `median_ms`.

    Examples:
        >>> latency = Latency.of(np.array([1.0, 2.0, 6.0]))
        >>> latency.median_ms, latency.mean_ms, latency.count
        (2.0, 3.0, 3)
    """

    median_ms: float
    mean_ms: float
    std_ms: float
    min_ms: float
    max_ms: float
    count: int
    statistic: str = "median"
    rounds_ms: tuple[float, ...] = ()

    @property
    def spread_ms(self) -> float:
        """The slowest minus the fastest inference."""
        return self.max_ms - self.min_ms

    @classmethod
    def of(cls, milliseconds: np.ndarray) -> "Latency":
        """The statistics of single times."""
        return cls(
            float(np.median(milliseconds)),
            float(np.mean(milliseconds)),
            float(np.std(milliseconds)),
            float(np.min(milliseconds)),
            float(np.max(milliseconds)),
            len(milliseconds),
        )

    @classmethod
    def over(cls, rounds: "list[Latency]") -> "Latency":
        """The rounds' latencies in one."""
        counts = [each.count for each in rounds]
        return cls(
            float(np.median([each.median_ms for each in rounds])),
            float(np.average([each.mean_ms for each in rounds], weights=counts)),
            float(np.average([each.std_ms for each in rounds], weights=counts)),
            min(each.min_ms for each in rounds),
            max(each.max_ms for each in rounds),
            sum(counts),
            "median" if all(each.statistic == "median" for each in rounds) else "mean",
            tuple(each.median_ms for each in rounds),
        )


@dataclass(frozen=True)
class Operator:
    """One operator in the order of the run: its type, its output, its mean time and share of the whole.

    Examples:
        >>> Operator("LceBconv2d", "conv", ms=0.2, percent=40.0).percent
        40.0
    """

    type: str
    name: str
    ms: float
    percent: float


@dataclass(frozen=True)
class Agreement:
    """How the outputs on the device compare with those of a reference for the same images.

    Attributes:
        reference: "keras" or "host" (LCE's interpreter in this process).
        images: how many were compared.
        argmax: the fraction of equal decisions (the largest value along the last axis, the side of a threshold), of the
            output where it is smallest.
        max_difference: the largest absolute difference of an output.
        identical: whether every output is the same bit by bit.

    Examples:
        >>> Agreement("keras", images=100, argmax=0.99, max_difference=0.5, identical=False).argmax
        0.99
    """

    reference: str
    images: int
    argmax: float
    max_difference: float
    identical: bool

    @classmethod
    def between(
        cls, reference: str, judge: Judge, expected: list[np.ndarray], outputs: list[np.ndarray]
    ) -> "Agreement":
        """Compares two lists of arrays whose first axis counts the images, by a new `judge`."""
        images = min(len(array) for array in outputs)
        pairs = [(left[:images], right[:images]) for left, right in zip(expected, outputs, strict=True)]
        judge.add(*zip(*pairs, strict=True))
        verdicts = judge.verdicts()
        return cls(
            reference,
            images,
            min(output.agreement for output in verdicts),
            max(output.max_abs_diff for output in verdicts),
            all(np.array_equal(left, right) for left, right in pairs),
        )


@dataclass
class Result:
    """One model on one device with one number of threads.

    Attributes:
        model: the model's name.
        device: the target as it was given.
        threads: the number of threads.
        size_bytes: the size of the .tflite file.
        latency: the time of an inference; None where it was not measured.
        init_ms: loading the model and allocating its tensors, in ms.
        memory_kib: how much the process grew by the model, in KiB.
        peak_kib: the process' peak, in KiB, where the program tells it.
        operators: the profile, empty where there is none.
        outputs: an array for every output, first axis images.
        agreements: the comparisons with Keras and with the host.
        accuracy: the fraction of labels that the first output's decisions meet.
        accuracy_images: how many images `accuracy` is of.
        notes: what a reader of the figures should know.
        failure: what went wrong, or "".

    Examples:
        >>> Result("model.tflite", "local", threads=1, size_bytes=1024, failure="out of memory").latency is None
        True
    """

    model: str
    device: str
    threads: int
    size_bytes: int
    latency: Latency | None = None
    init_ms: float | None = None
    memory_kib: float | None = None
    peak_kib: float | None = None
    operators: list[Operator] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    accuracy: float | None = None
    accuracy_images: int = 0
    notes: list[str] = field(default_factory=list)
    failure: str = ""

    def agreement(self, reference: str) -> Agreement | None:
        """The comparison with `reference`, or None where there is none."""
        return next((each for each in self.agreements if each.reference == reference), None)
