"""One's own images: a folder with a subfolder of images for each class."""

import concurrent.futures
import os
import sys
import unicodedata
import warnings
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError, invalid, is_whole, require
from larq_equalbits._text import visible
from larq_equalbits.data.in_memory import Examples, Splits, from_splits, statistics
from larq_equalbits.data.pipeline import Data, check_common

IMAGE_SIZE = 96
AUGMENTATIONS = ("none", "crop", "crop_flip")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
#: One image in so many of each class is for the test where no test images are given.
TEST_EVERY = 5
_MOST_BYTES = 16 * 2**30
# The names that their folders may have, in small or large letters.
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
_NAMED = 3
# What Pillow decodes itself, whatever the name of a file says: for others it starts programs, as Ghostscript for EPS.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
# The folder read last: a sweep decodes its images once.
_kept: dict[Hashable, Splits] = {}


def from_folder(
    path: str | os.PathLike[str],
    *,
    image_size: int = IMAGE_SIZE,
    batch_size: int = 32,
    seed: int = 0,
    augment: str = "crop_flip",
    validation_fraction: float = 0.1,
    train_images: int | None = None,
) -> Data:
    """Reads one's own images: JPEG, PNG or BMP, of any size and colour mode, in a subfolder for each class.

    ``path/cats/*.jpg``, ``path/dogs/*.jpg``; or with splits of one's own, ``path/train/cats/*.jpg`` and so on for
    ``test`` and, where wanted, ``validation`` (``Training``, ``Testing``, ``val`` and the like serve too). Without
    ``test``, one image in five of each class is for the test: always the same ones, whatever `seed` is. Subfolders of
    a class belong to it; files of other kinds and what has a name that begins with a dot are left out.

    An image is turned as its camera says, converted to RGB, scaled so that its shorter side has `image_size`
    pixels, and its centre is cut out. Mean and deviation of each channel are those of all training images.
    All images are decoded once, and kept in memory in 3 * image_size^2 bytes each.

    Args:
        path: the folder.
        image_size: height and width of the images that the network gets, in pixels, from 8 to 1024.
        batch_size: images per batch, from 1 to the number of training images.
        seed: of the order and the augmentation of the training images, an integer from 0.
        augment: "none"; "crop" shifts each training image by up to an eighth of its size; "crop_flip" also mirrors
            half of them, which does not suit letters or road signs.
        validation_fraction: share of the training images to hold out, the same of each class; with images in
            ``validation`` it is not used.
        train_images: how many of the others to train on; None for all.

    Returns:
        The data set, with the folders' names as `labels`, sorted.

    Raises:
        InputError: no such folder, fewer than two classes, a class without a readable image or with too few of
            them to have one in each split, a class that only some splits have, or a number out of range.
        ImportError: Pillow is not installed; names the extra to install.

    Warns:
        UserWarning: files that are no images or are damaged were skipped: how many, and the names of some; or folders
            beside ``train`` that are no split.

    Examples:
        >>> from PIL import Image
        >>> for place, name in enumerate(["cats", "dogs"] * 5):
        ...     (folder / name).mkdir(exist_ok=True)
        ...     Image.new("RGB", (40, 30), (25 * place, 0, 0)).save(folder / name / f"{place}.png")
        >>> images = from_folder(folder, image_size=16, batch_size=4)
        >>> images.labels, images.input_shape, images.num_train, images.num_test
        (('cats', 'dogs'), (16, 16, 3), 8, 2)
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError(
            f"path must be a folder with a subfolder of images for each class, but got {str(root)!r}."
        )
    if not (is_whole(image_size, 8) and image_size <= 1024):
        raise invalid("image_size", image_size, "an integer from 8 to 1024")
    if augment not in AUGMENTATIONS:
        raise invalid("augment", augment, f"one of {', '.join(AUGMENTATIONS)} for a folder of images")
    check_common(seed, validation_fraction)
    splits = _read(root, int(image_size))
    mean, std = statistics(splits.train)
    return from_splits(
        str(root.resolve()),
        splits,
        mean,
        std,
        batch_size=batch_size,
        seed=seed,
        augment=augment,
        validation_fraction=validation_fraction,
        train_images=train_images,
        padding=max(1, image_size // 8),
    )


def mixed(examples: Examples) -> Examples:
    """The same in a fixed random order, so the first so many are of all classes."""
    return examples[np.random.default_rng(0).permutation(len(examples))]


def tested_part(labels: np.ndarray) -> np.ndarray:
    """Marks one example in `TEST_EVERY` of each class, at least one, at fixed random places."""
    marked = np.zeros(len(labels), bool)
    generator = np.random.default_rng(0)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        marked[members[: max(1, len(members) // TEST_EVERY)]] = True
    return marked


def _read(root: Path, size: int) -> Splits:
    folders = _split_folders(root)
    parts = {name: _classes(folder) for name, folder in folders.items()}
    parts = {name: classes for name, classes in parts.items() if classes}
    if not parts.get("train"):
        raise InputError(f"{str(root)!r} must hold a subfolder of images for each class, but has none.")
    labels = tuple(parts["train"])
    if len(labels) < 2:
        raise InputError(
            f"{str(root)!r} must hold images of two classes or more, but has only {labels[0]!r}."
        )
    for name, classes in parts.items():
        differing = sorted(set(classes) ^ set(labels))
        if differing:
            fault = "lacks" if differing[0] in labels else "has"
            raise InputError(
                f"{str(folders[name])!r} must have the classes of train, but {fault} {_some(differing)}."
            )
    count = sum(len(files) for classes in parts.values() for files in classes.values())
    if count * size * size * 3 > _MOST_BYTES:
        fitting = int((_MOST_BYTES / 3 / count) ** 0.5)
        raise invalid("image_size", size, f"at most {fitting} for {count} images, which are kept in memory")
    key = (root.resolve(), size, _state(parts))
    if key not in _kept:
        _kept.clear()
        _kept[key] = _decoded(root, folders, parts, labels, size)
    return _kept[key]


def _split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split: `root` itself is that of train where none has the name of one and subfolders."""
    inside = [entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    found: dict[str, Path] = {}
    for entry in inside:
        name = next((name for name, names in _SPLITS.items() if entry.name.casefold() in names), None)
        if name is None or not any(each.is_dir() for each in entry.iterdir()):
            continue
        if name in found:
            raise InputError(
                f"{str(root)!r} must have one folder for {name}, but has {found[name].name!r} and {entry.name!r}."
            )
        found[name] = entry
    if "train" not in found:
        return {"train": root}
    others = [entry.name for entry in inside if entry not in found.values()]
    if others:
        warnings.warn(
            f"{str(root)!r} has splits, so what is beside them was left out: {_some(others)}.", stacklevel=5
        )
    return found


def _classes(folder: Path) -> dict[str, list[Path]]:
    """The image files of each class in `folder`, sorted; accented letters in the one form, whatever wrote them."""
    if not folder.is_dir():
        return {}
    found: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            files = [
                file
                for file in sorted(entry.rglob("*"))
                if file.suffix.lower() in SUFFIXES
                and not any(part.startswith(".") for part in file.relative_to(entry).parts)
                and file.is_file()
            ]
            label = unicodedata.normalize("NFC", entry.name)
            if label in found:
                raise InputError(f"{str(folder)!r} must hold each class once, but has two folders {label!r}.")
            found[label] = files
    return dict(sorted(found.items()))


def _state(parts: dict[str, dict[str, list[Path]]]) -> Hashable:
    files = (file for classes in parts.values() for files in classes.values() for file in files)
    return tuple((str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files)


def _decoded(
    root: Path,
    folders: dict[str, Path],
    parts: dict[str, dict[str, list[Path]]],
    labels: tuple[str, ...],
    size: int,
) -> Splits:
    broken: list[str] = []
    splits: dict[str, Examples] = {}
    # A class needs an image in each split that is made of its images.
    least = dict.fromkeys(parts, 1) | {"train": 1 if "test" in parts else 2}
    for name, classes in parts.items():
        images, numbers = [], []
        for label, files in classes.items():
            decoded = dict(zip(files, _images(files, size, f"Reading {label}"), strict=True))
            broken += [str(file.relative_to(root)) for file, image in decoded.items() if image is None]
            read = [image for image in decoded.values() if image is not None]
            if len(read) < least[name]:
                raise InputError(
                    f"{str(folders[name] / label)!r} must hold {least[name]} readable JPEG, PNG or BMP images or "
                    f"more, but has {len(read)} ({len(files) - len(read)} damaged)."
                )
            images += read
            numbers += [labels.index(label)] * len(read)
        splits[name] = Examples(np.stack(images), np.array(numbers, np.int32))
    if broken:
        warnings.warn(
            f"{len(broken)} files in {str(root)!r} could not be read as images and were skipped: {_some(broken)}.",
            stacklevel=5,
        )
    train = mixed(splits["train"])
    if "test" not in splits:
        tested = tested_part(train.labels)
        train, splits["test"] = train[~tested], train[tested]
    return Splits(train, splits["test"], labels, splits.get("validation"))


def _images(files: list[Path], size: int, what: str) -> list[np.ndarray | None]:
    """Decodes `files` on all cores; None for one that cannot be read. A bar is drawn where a person sees it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track

    require("data", "PIL")
    bar: dict[str, Any] = {
        "console": Console(stderr=True),
        "transient": True,
        "disable": not sys.stderr.isatty(),
    }
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = pool.map(lambda file: _image(file, size), files)
        return list(track(results, escape(visible(what)), len(files), **bar))


def _image(file: Path, size: int) -> np.ndarray | None:
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=_FORMATS) as opened:
            # A JPEG is decoded at a fraction of its size where that is enough.
            opened.draft("RGB", (2 * size, 2 * size))
            image = ImageOps.exif_transpose(opened)
            # Up to Pillow 10.2 a PNG of 16 bits has the mode I.
            if image.mode.startswith("I;16") or (image.mode == "I" and opened.format == "PNG"):
                # Pillow clips 16 bits to 255 instead of scaling them.
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.mode in ("P", "PA", "LA", "RGBA") or "transparency" in image.info:
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
            image = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
            return np.asarray(image, np.uint8)
    # Pillow's decoders raise whatever they meet: SyntaxError for a damaged PNG, struct.error for EXIF data.
    except Exception:
        return None


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
