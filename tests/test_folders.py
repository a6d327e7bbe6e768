"""A folder of one's own images, and other data sets of one's own, as `Data`."""

import contextlib
import json
import warnings

import larq_equalbits_runtime
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from click.testing import CliRunner
from larq_equalbits_runtime import _images
from PIL import EpsImagePlugin, Image
from test_data import gather
from test_data_formats import Cifar100, Digits

from larq_equalbits import data, training
from larq_equalbits._errors import InputError
from larq_equalbits.cli import device, program, sources
from larq_equalbits.data import pipeline

COLOURS = {"rot": (220, 30, 20), "青": (20, 40, 220)}


def picture(path, colour, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


def photos(root, count=10, under=""):
    for label, colour in COLOURS.items():
        for index in range(count):
            shade = tuple(min(255, part + index) for part in colour)
            picture(root / under / label / f"{index:02}.png", shade, (30 + index, 25))
    return root


def pixels(loaded, dataset):
    images, labels = gather(dataset)
    return np.round((images * loaded.std + loaded.mean) * 255).astype(int), labels


def test_a_folder_becomes_splits_that_do_not_depend_on_the_seed(tmp_path):
    photos(tmp_path)
    loaded = data.from_folder(tmp_path, image_size=16, batch_size=2, validation_fraction=0.25)
    assert loaded.labels == ("rot", "青")
    assert (loaded.num_train, loaded.num_validation, loaded.num_test) == (12, 4, 4)
    assert loaded.input_shape == (16, 16, 3)
    seen = set()
    for part in (loaded.train, loaded.validation, loaded.test):
        images, labels = pixels(loaded, part)
        for image, label in zip(images, labels, strict=True):
            assert image[8, 8].argmax() == (0 if label == 0 else 2)
            seen.add((label, tuple(image[8, 8])))
    assert len(seen) == 20
    again = data.from_folder(tmp_path, image_size=16, batch_size=2, seed=9)
    np.testing.assert_array_equal(gather(again.test)[0], gather(loaded.test)[0])
    assert np.bincount(gather(loaded.test)[1]).tolist() == [2, 2]
    first = data.from_folder(tmp_path, image_size=16, batch_size=6, train_images=6, augment="none")
    assert set(gather(first.train)[1]) == {0, 1}


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("Training", "val", "TEST")])
def test_splits_of_ones_own_are_kept(tmp_path, names):
    for part, count in zip(names, (6, 3, 2), strict=True):
        photos(tmp_path, count, part)
    picture(tmp_path / names[0] / "rot" / ".ipynb_checkpoints" / "00-checkpoint.png", (1, 2, 3))
    loaded = data.from_folder(tmp_path, image_size=8, batch_size=4, validation_fraction=0.5)
    assert (loaded.num_train, loaded.num_validation, loaded.num_test) == (12, 6, 4)


def test_every_mode_size_and_rotation_is_read(tmp_path):
    red = (200, 0, 0)
    photos(tmp_path, 2)
    for name in ("L.png", "P.bmp", "RGBA.png", "CMYK.jpg", "1.png", "LA.png"):
        picture(tmp_path / "rot" / name, red, (9, 200), mode=name[:-4])
    Image.fromarray(np.full((20, 20), 65535, np.uint16)).save(tmp_path / "rot" / "sixteen.png")
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    clear.save(tmp_path / "rot" / "clear.PNG")
    turned = Image.new("RGB", (64, 32), (0, 0, 255))
    turned.paste((255, 0, 0), (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 3
    turned.save(tmp_path / "rot" / "turned.jpg", exif=exif, quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = data.from_folder(tmp_path, image_size=8, batch_size=1, augment="none", validation_fraction=0)
    assert loaded.num_train + loaded.num_test == 2 + 2 + 9
    images = np.concatenate([pixels(loaded, part)[0] for part in (loaded.train, loaded.test)])
    assert (images == 255).all(axis=(1, 2, 3)).sum() == 2
    left, right = images[:, 4, 1], images[:, 4, 6]
    assert ((left[:, 2] > 200) & (right[:, 0] > 200) & (right[:, 2] < 60)).sum() == 1


def test_broken_images_are_named_and_skipped(tmp_path):
    photos(tmp_path, 5)
    (tmp_path / "rot" / "empty.jpg").write_bytes(b"")
    whole = (tmp_path / "rot" / "00.png").read_bytes()
    (tmp_path / "青" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "青" / "notes.txt").write_text("no image")
    (tmp_path / "青" / "._00.png").write_bytes(b"")
    # A quarter turn, and a whole number (the tag 263) as a fraction.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    exif += b"\x01\x07\0\x05\0\0\0\x01\0\0\0\x26\0\0\0\0\0\0\0\x48\0\0\0\x01"
    Image.new("RGB", (9, 9)).save(tmp_path / "rot" / "exif.jpg", exif=exif)
    with pytest.warns(
        UserWarning, match=r"3 files in .* skipped: 'rot/empty.jpg', 'rot/exif.jpg', '青/cut.png'"
    ):
        loaded = data.from_folder(tmp_path, image_size=8, batch_size=2)
    assert loaded.num_train + loaded.num_validation + loaded.num_test == 10


def test_what_lies_beside_splits_is_told(tmp_path):
    for part in ("train", "test", "holdout"):
        photos(tmp_path, 3, part)
    with pytest.warns(UserWarning, match="has splits, so what is beside them was left out: 'holdout'"):
        data.from_folder(tmp_path, image_size=8, batch_size=2)


def test_an_image_starts_no_program(tmp_path, monkeypatch):
    images, started = photos(tmp_path / "images", 5), tmp_path / "started"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\necho x > '{started}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", str(program))
    evil = images / "rot" / "evil.png"
    evil.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with Image.open(evil) as opened, contextlib.suppress(OSError):
        opened.load()
    # What Pillow does unasked.
    started.unlink()
    with pytest.warns(UserWarning, match=r"1 files in .* skipped: 'rot/evil.png'"):
        data.from_folder(images, image_size=8, batch_size=2)
    with pytest.raises(larq_equalbits_runtime.InputError, match="IMAGE must be an image file"):
        _images.decode(evil, 3)
    assert not started.exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "must hold a subfolder of images for each class, but has none"),
        (lambda root: picture(root / "one" / "a.png", (1, 2, 3)), "two classes or more, but has only 'one'"),
        (
            lambda root: (photos(root), (root / "zzz").mkdir()),
            r"zzz' must hold 2 readable .* has 0 \(0 damaged\)",
        ),
        (lambda root: photos(root, 1), r"must hold 2 readable JPEG, PNG or BMP images or more, but has 1"),
        (
            lambda root: (
                photos(root, 3, "train"),
                photos(root, 3, "test"),
                picture(root / "test/cat/a.png", 0),
            ),
            "test' must have the classes of train, but has 'cat'",
        ),
        (
            lambda root: (photos(root, 3, "train"), picture(root / "test/rot/a.png", 0)),
            "test' must have the classes of train, but lacks '青'",
        ),
        (
            lambda root: (photos(root, 3, "train"), photos(root, 3, "val"), photos(root, 3, "valid")),
            "must have one folder for validation, but has 'val' and 'valid'",
        ),
        (lambda root: photos(root, 5), "batch_size must be an integer from 1 to the 8 training images"),
    ],
)
def test_a_bad_folder_gives_one_line(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(InputError, match=words):
        data.from_folder(tmp_path, image_size=8, batch_size=16)


@pytest.mark.parametrize(
    ("read", "source", "options", "words"),
    [
        (data.from_folder, ".", {"image_size": 0}, "image_size must be an integer from 8 to 1024, but got 0"),
        (data.from_folder, ".", {"augment": "resized_crop"}, "augment must be one of none, crop, crop_flip"),
        (data.from_folder, ".", {"validation_fraction": 1}, "validation_fraction must be"),
        (data.from_folder, ".", {"seed": -1}, "seed must be"),
        (data.from_folder, "none", {}, "path must be a folder"),
        (data.load, "cifar-10", {}, r"but got 'cifar-10'. Did you mean cifar10\?"),
        (data.load, "digits", {"image_size": 32}, "image_size must be None for digits"),
    ],
)
def test_bad_arguments_are_named(read, source, options, words):
    with pytest.raises(InputError, match=words):
        read(source, **options)


def test_any_prepared_set_of_images_with_labels(tmp_path):
    Digits(data_dir=tmp_path).download_and_prepare()
    own = data.load("tfds:digits", data_dir=tmp_path, augment="none")
    same = data.load("digits")
    assert (own.num_train, own.num_test, own.input_shape) == (same.num_train, same.num_test, (8, 8, 1))
    for part in ("validation", "test"):
        for one, other in zip(*(pixels(each, getattr(each, part)) for each in (own, same)), strict=True):
            np.testing.assert_array_equal(one, other)
    assert data.load("tfds:digits", data_dir=tmp_path, image_size=12).input_shape == (12, 12, 1)
    with pytest.raises(InputError, match="must hold nothing prepared by tensorflow-datasets"):
        data.load("tfds:nothing", data_dir=tmp_path)


@pytest.mark.parametrize("download", [False, True])
def test_a_prepared_set_imports_no_other_module(tmp_path, monkeypatch, download):
    Digits(data_dir=tmp_path).download_and_prepare()
    (features,) = tmp_path.glob("digits/*/features.json")
    described = features.read_text()
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    for text in (
        described.replace("tensorflow_datasets.core.features.image_feature.Image", "evil.Image"),
        '{"type": "evil.Image", "content": {}}',
    ):
        features.write_text(text)
        with pytest.raises(InputError, match="would import 'evil'"):
            data.load("tfds:digits", data_dir=tmp_path, download=download)
    assert not (tmp_path / "ran").exists()


class Wide(Cifar100, skip_registration=True):
    SPLITS = (("train", 12), ("test", 5))
    CLASSES = 2

    def image(self):
        return tfds.features.Image(shape=(16, 24, 3))

    def size(self, generator):
        return 16, 24


@pytest.mark.parametrize("shape", [(16, 24, 3), (16, 16, 3)])
def test_a_run_and_a_bare_model_find_the_images_that_they_take(tmp_path, caplog, shape):
    if shape[0] < shape[1]:
        Wide(data_dir=tmp_path).download_and_prepare()
        caplog.clear()
        settings, count = training.Settings(dataset="tfds:wide", data_dir=tmp_path), 5
    else:
        for part, count in (("train", 3), ("test", 2)):
            photos(tmp_path / "photos", count, part)
        # All images in one batch, none of them held out.
        options = {"image_size": 16, "validation_fraction": 0.0, "batch_size": 6}
        settings, count = training.Settings(dataset=tmp_path / "photos", **options), 4
    folder = tmp_path / "run"
    folder.mkdir()
    tf.keras.Sequential([tf.keras.layers.Flatten(input_shape=shape)]).save(folder / "model.keras")
    settings.save(folder / "settings.json")
    bare = sources.open_source(folder / "model.keras")
    for images in (
        sources.open_source(folder).images(None, None),
        bare.images(settings.dataset, settings.data_dir),
    ):
        assert images.input_shape == shape and images.num_test == len(gather(images.test)[1]) == count
    assert device._test_images(settings, folder, 3, None)[0].shape == (3, *shape)
    assert "deprecated" not in caplog.text


def test_training_converting_and_labels_from_the_command_line(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", 20)
    options = ["train", "--dataset", "photos", "--image-size", "16", "--epochs", "4", "--quiet"]
    options += ["--quantizer", "ste_sign", "--model-option", "width=0.05"]
    words = "batch_size is 4 instead of the recipe's 128, as there are 28 training"
    with pytest.warns(UserWarning, match=words):
        done = CliRunner().invoke(program, [*options, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    results = json.loads(done.stdout.splitlines()[-1])
    assert results["folder"] == "runs/conv2-photos-ste_sign-0"
    assert results["test_accuracy"] > 0.8
    command("convert", results["folder"])
    described = json.loads((tmp_path / results["folder"] / "model.json").read_text())
    assert described["labels"] == ["rot", "青"]
    assert described["input_shape"] == [16, 16, 3]
    assert described["report"]["verification"]["images"] == 8


def test_the_program_says_in_a_line_what_it_skipped(run_script, tmp_path):
    photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / "rot" / "empty.jpg").write_bytes(b"")
    arguments = ("train", "--dataset", "photos", "--batch-size", 64)
    program = "import sys\nfrom larq_equalbits.cli import main\nsys.argv[0] = 'larq-equalbits'\nmain()"
    done = run_script(program, *arguments, cwd=tmp_path, status=2)
    skipped, error = done.stderr.splitlines()
    assert skipped.startswith("larq-equalbits: 1 files in")
    assert skipped.endswith("were skipped: 'rot/empty.jpg'.")
    assert (
        error == "larq-equalbits: batch_size must be an integer from 1 to the 4 training images, but got 64."
    )


def test_training_takes_data_of_ones_own(tmp_path):
    settings = training.Settings(quantizer="ste_sign", epochs=1, model_options={"width": 0.05})
    options = {"augment": "crop", "train_images": 6, "validation_fraction": 0.2}
    loaded = data.from_folder(photos(tmp_path / "photos", 5), image_size=16, batch_size=4, seed=3, **options)
    run = training.train(settings, tmp_path / "a", verbose=0, data=loaded)
    assert (run.settings.dataset, run.settings.image_size) == (str(tmp_path / "photos"), 16)
    assert {name: getattr(run.settings, name) for name in options} == options
    with pytest.raises(InputError, match=r"the run's begin, .* seed 3, but .* seed 0"):
        training.train(run.settings, run.folder, resume=True)
    assert pipeline.square_size((16, 24, 3)) is None
    generator = np.random.default_rng(0)
    images, labels = generator.random((22, 16, 16, 3)), np.arange(22) % 3
    pair = [tf.data.Dataset.from_tensor_slices((images, labels)).batch(5) for _ in range(2)]
    run = training.train(settings, tmp_path / "b", verbose=0, data=pair)
    assert (run.settings.dataset, run.settings.batch_size) == ("given", 5)
    assert run.load_model().output_shape == (None, 3)
    with pytest.raises(
        InputError, match=r"data must be a data.Data or a pair \(train, test\) of tf.data sets"
    ):
        training.train(settings, tmp_path / "c", data=[1, 2, 3])


def batches(images, labels):
    return tf.data.Dataset.from_tensor_slices((np.asarray(images, np.float32), labels)).batch(4)


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (batches(np.zeros([4, 8, 8, 1]), [0, 1, 2, 0]), "test must have labels from 0 to 1, but has 2"),
        (
            batches(np.zeros([4, 9, 8, 1]), [0, 1, 0, 0]),
            r"test must have images of shape \(8, 8, 1\) as train",
        ),
        (batches(np.zeros([4, 8, 8, 1]), [0.0, 1, 0, 0]), "integer labels of shape"),
        (batches(np.zeros([4, 8, 8, 1]), [0, -1, 0, 0]), "from 0"),
        (batches(np.zeros([4, 8, 8, 1]), [0, 1, 0, 0]).repeat(), r"leave out .repeat\(\)"),
        (batches(np.zeros([0, 8, 8, 1]), np.zeros(0, int)), "test must have images, but is empty"),
        ([1, 2], "test must be a tf.data.Dataset of batches, but got list"),
    ],
)
def test_datasets_that_do_not_fit_give_one_line(test, words):
    train = batches(np.zeros([8, 8, 8, 1]), [0, 1] * 4)
    with pytest.raises(InputError, match=words):
        data.from_datasets(train, test)


def test_of_data_that_the_caller_made_no_normalisation_is_known():
    part = batches(np.zeros((4, 8, 8, 3)), [0, 1, 0, 1])
    images = data.from_datasets(part, part)
    assert images.mean is images.std is None
