"""Names that options take: shown in the help, completed in the shell, and checked before TensorFlow loads."""

import difflib
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from larq_equalbits._errors import InputError


class Name(click.ParamType):
    """One of the names that are known.

    Args:
        names: those known.
        images: whether a folder of images and "tfds:NAME" do too.
    """

    def __init__(self, names: tuple[str, ...], images: bool = False) -> None:
        self.names, self.images = names, images
        # What stands for it in the help, in capitals there.
        self.name = "name|folder" if images else "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """`value` where it is known.

        Raises:
            InputError: it is not; lists the names, and says which is the nearest.
        """
        if value in self.names or (self.images and (value.startswith("tfds:") or Path(value).is_dir())):
            return str(value)
        near = difflib.get_close_matches(value, self.names, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        more = ", tfds:NAME, or a folder with a subfolder of images for each class" if self.images else ""
        argument = param.name if param else self.name
        raise InputError(f"{argument} must be one of {', '.join(self.names)}{more}, but got {value!r}.{hint}")

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so."""
        found = [CompletionItem(name) for name in self.names if name.startswith(incomplete)]
        return [*found, CompletionItem(incomplete, type="dir")] if self.images else found
