"""The table of the zoo in docs/guides/zoo.md: parameters, binary share, size and multiplications of every network."""

from pathlib import Path

import click

from larq_equalbits import _files
from larq_equalbits._errors import InputError
from larq_equalbits.cli import run_command

PAGE = Path(__file__).resolve().parents[1] / "docs" / "guides" / "zoo.md"
START, END = "<!-- zoo table -->", "<!-- end of zoo table -->"
HEADER = (
    "| network | images | classes | parameters | kernel weights | binary | KiB | binary MACs | float MACs |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)
SMALL, LARGE = ((32, 32, 3), 10), ((224, 224, 3), 1000)
# The papers train these on ImageNet.
ON_IMAGENET = ("resnet18", "resnet34")


def measure(name: str, images: tuple[int, int, int], classes: int) -> str:
    """The row of one network with binary activations.

    A size counts 1 bit for a binary weight, 32 for any other, normalizations folded.
    """
    import tensorflow as tf
    from larq.models import ModelProfile

    from larq_equalbits import zoo
    from larq_equalbits._bits.kernels import quantized_kernels

    # Which quantizer makes no difference here, and Larq's builds fastest.
    model = zoo.get(name)(input_shape=images, num_classes=classes, quantizer="ste_sign")
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.Dense)
    kernels = [
        getattr(layer, "depthwise_kernel", None) if hasattr(layer, "depthwise_kernel") else layer.kernel
        for layer in model.layers
        if isinstance(layer, kinds)
    ]
    weights = sum(kernel.shape.num_elements() for kernel in kernels)
    binary = sum(kernel.latent().size for kernel in quantized_kernels(model))
    profile = ModelProfile(model)
    macs = {precision: profile.op_count("mac", precision) or 0 for precision in profile.unique_op_precisions}
    binary_macs = macs.pop(1, 0)
    tf.keras.backend.clear_session()
    return (
        f"| {name} | {'x'.join(map(str, images))} | {classes:,} | {model.count_params():,} | {weights:,} | "
        f"{binary / weights:.2%} | {profile.memory / 8 / 1024:,.0f} | {binary_macs / 1e6:,.1f} M | "
        f"{sum(macs.values()) / 1e6:,.1f} M |"
    )


def rows(models: tuple[str, ...] = ()) -> list[str]:
    """The rows of `models`, by default of all, for small images and then for ImageNet's.

    Raises:
        InputError: an unknown network.
    """
    from larq_equalbits import zoo

    chosen = models or tuple(zoo.list_models())
    for name in chosen:
        zoo.get(name)
    large = [name for name in chosen if name in ON_IMAGENET]
    return [measure(name, *SMALL) for name in chosen] + [measure(name, *LARGE) for name in large]


def written(page: str, table: str) -> str:
    """`page` with `table` between its markers.

    Raises:
        InputError: a page without the markers.
    """
    head, start, rest = page.partition(START)
    _, end, tail = rest.partition(END)
    if not (start and end):
        raise InputError(f"page must hold the markers {START} and {END}.")
    return f"{head}{START}\n{table}\n{END}{tail}"


@click.command(context_settings={"show_default": True})
@click.option("--write", is_flag=True, help="Put the table into the page, instead of printing it.")
@click.option("--page", type=click.Path(path_type=Path), default=PAGE, help="A page with the markers.")
@click.argument("models", nargs=-1)
def main(write: bool, page: Path, models: tuple[str, ...]) -> None:
    """Print the table of MODELS (of the whole zoo without any), or write it into the documentation."""

    text = page.read_text(encoding="utf-8") if write else ""
    table = HEADER + "\n".join(rows(models))
    if write:
        _files.write_text(page, written(text, table))
    else:
        click.echo(table)


if __name__ == "__main__":
    run_command(main)
