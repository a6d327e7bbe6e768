"""Sizes of the zoo's converted networks against float and against the ideal, and what a conversion takes.

The ideal counts what Larq's summary counts: 1 bit for a binary weight (8 where a layer with float input stores it in
int8), 32 for any other, normalizations folded. Each network is converted in a process of its own, whose peak memory is
that of building, tracing, converting and reading back.
"""

import dataclasses
import resource
import time
from pathlib import Path

import click
import turns

from larq_equalbits import _files
from larq_equalbits._text import csv_table
from larq_equalbits.cli import run_command

ALLOWED_RATIO = 1.05
# What operators and names may take: a layer that multiplies in float has an operator that unpacks it too.
ALLOWED_BYTES = {"1/1": 20_000, "1/32": 40_000}
BITS = {"1/1": ("int8",), "1/32": ("int8", "bits")}
# ImageNet's images, for the network whose conversion is the largest of the papers'.
LARGE = ("resnet34", 224, 1000)


@dataclasses.dataclass(frozen=True)
class Row:
    """One conversion. Sizes are in bytes; `memory_mib` is the peak of its process."""

    network: str
    pixels: int
    bits: str
    tflite_bytes: int
    float_bytes: int
    ideal_bytes: int
    binary_layers: int
    float_layers: int
    seconds: float
    memory_mib: float

    @property
    def within(self) -> bool:
        """Whether the size is at most 1.05 of the ideal plus what operators may take."""
        allowed = ALLOWED_BYTES[self.bits.split()[0]]
        return self.tflite_bytes <= ALLOWED_RATIO * self.ideal_bytes + allowed


def measure(network: str, pixels: int, classes: int, bits: str) -> list[Row]:
    """Builds and converts one network, once for all forms of its binary weights."""
    from larq.models import ModelProfile

    from larq_equalbits import export, zoo
    from larq_equalbits._bits.kernels import quantized_kernels
    from larq_equalbits.export import packing

    model = zoo.get(network)(
        input_shape=(pixels, pixels, 3), num_classes=classes, binarize_activations=bits == "1/1"
    )
    ideal = ModelProfile(model).memory / 8
    binary = sum(kernel.latent().size for kernel in quantized_kernels(model))
    start = time.perf_counter()
    report = export.convert(model, binary_weights="float32", verify_on=False)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    float_bytes = export.float_size(model)
    return [
        Row(
            network,
            pixels,
            bits if bits == "1/1" else f"{bits} {form}",
            len(packing.pack(report.tflite, form)),
            float_bytes,
            round(ideal + (7 / 8 * binary if bits == "1/32" and form == "int8" else 0)),
            sum(layer.binary for layer in report.layers),
            sum(not layer.binary for layer in report.layers),
            round(seconds, 1),
            round(memory),
        )
        for form in BITS[bits]
    ]


def _line(row: Row) -> str:
    return (
        f"| {row.network} | {row.pixels} | {row.bits} | {row.binary_layers} + {row.float_layers} | "
        f"{row.tflite_bytes / 1024:,.0f} | {row.float_bytes / 1024:,.0f} | "
        f"{row.float_bytes / row.tflite_bytes:.1f} | {row.ideal_bytes / 1024:,.0f} | "
        f"{row.tflite_bytes / row.ideal_bytes:.2f} | {'yes' if row.within else 'NO'} | "
        f"{row.seconds:.0f} | {row.memory_mib:,.0f} |"
    )


@click.command(context_settings={"show_default": True})
@click.argument("networks", nargs=-1)
@click.option(
    "--bits",
    "activations",
    multiple=True,
    type=click.Choice(list(BITS)),
    default=tuple(BITS),
    help="Binary activations, float ones, or both.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the rows to this CSV file too.")
def main(networks: tuple[str, ...], activations: tuple[str, ...], out: Path | None) -> None:
    """Converts NETWORKS of the zoo, or all of them, for small images, and resnet34 for ImageNet's."""
    from larq_equalbits import zoo

    for network in networks:
        zoo.get(network)
    cases = [(name, 32, 10, bits) for name in networks or zoo.list_models() for bits in activations]
    if "1/1" in activations and (not networks or LARGE[0] in networks):
        cases.append((*LARGE, "1/1"))
    click.echo(
        "| network | pixels | bits | layers, binary + float | KiB | float KiB | times smaller | ideal KiB | "
        "of ideal | within | s | peak MiB |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    rows = []
    for case in cases:
        found = turns.in_own_process(measure, *case)
        rows += found
        click.echo("\n".join(map(_line, found)))
    if out is not None:
        _files.write_text(out, csv_table([dataclasses.asdict(row) for row in rows]))


if __name__ == "__main__":
    run_command(main)
