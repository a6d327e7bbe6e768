"""`larq-equalbits-run`: labels, probabilities and milliseconds; and one line with exit status 2 for bad input."""

import hashlib
import json
import math
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from larq_equalbits_runtime import _images, command
from larq_equalbits_runtime._description import Description
from tflite_files import File


def run(*arguments, environment=None):
    line = [
        sys.executable,
        "-c",
        "from larq_equalbits_runtime.command import main; main()",
        *map(str, arguments),
    ]
    return subprocess.run(line, capture_output=True, text=True, env=environment)


def test_it_prints_labels_probabilities_and_milliseconds(deployed):
    done = run(deployed / "model.tflite", *(deployed / f"{number}.png" for number in range(3)))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(
            r".*\d\.png: digit \d \d+\.\d%, digit \d .*%, digit \d .*% \(\d+\.\d{3} ms\)", line
        ), line


def test_labels_are_shown_and_not_obeyed(deployed):
    content = json.loads((deployed / "model.json").read_text())
    names = ["\x1b[2J\u202eb"] * len(content["labels"])
    (deployed / "model.json").write_text(json.dumps({**content, "labels": names}))
    done = run(deployed, deployed / "0.png")
    assert done.returncode == 0 and r"\x1b[2J\u202eb" in done.stdout and "\x1b" not in done.stdout


def test_json_holds_what_the_network_answers(deployed, small):
    from PIL import Image

    done = run(deployed, deployed / "0.png", "--json", "--top", "10", "--threads", "2", "--repeats", "3")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["threads"] == 2
    (found,) = report["images"]
    assert found["ms"] > 0
    pixels = np.asarray(Image.open(deployed / "0.png"), np.float32)[None, ..., None]
    scores = small.oracle(((pixels / 255 - 0.3) / 0.4).astype(np.float32))[0].astype(np.float64)
    shares = np.exp(scores) / np.exp(scores).sum()
    assert [each["label"] for each in found["classes"]] == [f"digit {k}" for k in np.argsort(-shares)]
    np.testing.assert_allclose(
        [each["probability"] for each in found["classes"]], np.sort(shares)[::-1], atol=1e-5
    )


def test_without_an_image_it_tells_the_time(deployed):
    done = run(deployed / "model.tflite", "--repeats", "5")
    assert done.returncode == 0 and re.search(r"model\.tflite: \d+\.\d{3} ms", done.stdout)


def test_a_bad_image_leaves_the_others(deployed):
    from PIL import Image

    (deployed / "text.png").write_text("no image")
    content = (deployed / "1.png").read_bytes()
    (deployed / "cut.png").write_bytes(content[:40])
    (deployed / "damaged.png").write_bytes(content.replace(b"IDAT", b"ID\0T"))
    # A quarter turn, and a whole number (the tag 263) as a fraction.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    exif += b"\x01\x07\0\x05\0\0\0\x01\0\0\0\x26\0\0\0\0\0\0\0\x48\0\0\0\x01"
    Image.new("L", (9, 9)).save(deployed / "exif.jpg", exif=exif)
    names = ["0.png", "text.png", "cut.png", "damaged.png", "exif.jpg", "none.png", "2.png"]
    done = run(deployed, *(deployed / name for name in names))
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("larq-equalbits-run:")]
    assert len(errors) == 5 and "Traceback" not in done.stderr
    for name, line in zip(names[1:6], errors, strict=True):
        assert name in line


def _with(**changes):
    """The description with other values."""
    return lambda text: json.dumps(json.loads(text) | changes)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (None, "model.json is missing"),
        (_with(sha256="0" * 64), "describes another model"),
        (_with(sha256=0), "describes another model"),
        (_with(mean=None, std=None), "does not say how images are normalised"),
        (lambda _: "[1, 2", "must be what larq-equalbits convert wrote"),
        (lambda _: "[" * 100_000, "must be what larq-equalbits convert wrote"),
        (_with(mean=[math.nan], std=[1]), "a mean and a std above 0"),
        (_with(std=[0]), "a mean and a std above 0"),
        (_with(std=[1e-60]), "float32 must have what"),
        (_with(mean=[1e300]), "float32 must have what"),
        (_with(mean=[1e38], std=[1e-30]), "float32 must have what"),
        (_with(mean="1", std="2"), "mean must be a list of float"),
        (_with(std=[True]), "std must be a list of float"),
        (_with(mean=[10**400]), "OverflowError"),
        (_with(mean=[0, 0, 0], std=[1, 1, 1]), "one mean for each of 1 channels, but has 3"),
        (
            _with(input_shape=[32, 32, 3]),
            "images of shape (8, 8, 1), which the model takes, but has (32, 32, 3)",
        ),
        (_with(input_shape="8x8"), "input_shape must be a list of int"),
        (_with(labels=["cat", "dog"]), "one label for each of 10 classes, but has 2"),
        (_with(labels=[str(number) for number in range(11)]), "one label for each of 10 classes, but has 11"),
        (_with(labels="0123456789"), "labels must be a list of str"),
        (_with(labels=[*range(10)]), "labels must be a list of str"),
    ],
)
def test_the_description_must_be_the_models(deployed, spoil, words):
    beside = deployed / "model.json"
    if spoil is None:
        beside.unlink()
    else:
        beside.write_text(spoil(beside.read_text()))
    done = run(deployed, deployed / "0.png")
    lines = [line for line in done.stderr.splitlines() if line.startswith("larq-equalbits-run:")]
    assert done.returncode == 2 and not done.stdout and len(lines) == 1 and words in lines[0], done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: MODEL\n"),
        (["none.tflite", "0.png"], "No such file"),
        (["text.tflite", "0.png"], "identifier"),
        (["model.tflite", "0.png", "--threads", "0"], "--threads must be from 1 to 1024"),
        (["model.tflite", "0.png", "--threads", "100000"], "--threads must be from 1 to 1024"),
        (["model.tflite", "0.png", "--repeats", "x"], "--repeats"),
        (["model.tflite", "0.png", "--repeats", "9" * 13], "--repeats must be from 1 to 1000000"),
        (["\x1b[31m.tflite", "0.png"], "\\x1b[31m.tflite"),
        (["model.tflite", "0.png", "--no-such-option"], "no-such-option"),
    ],
)
def test_bad_arguments_are_one_line(deployed, monkeypatch, arguments, words):
    monkeypatch.chdir(deployed)
    (deployed / "text.tflite").write_text("a text that is no model")
    done = run(*arguments)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("larq-equalbits-run:")]) == 1


def test_without_pillow_the_extra_is_named(deployed):
    code = (
        "import sys; sys.modules['PIL'] = None\nfrom larq_equalbits_runtime.command import main\n"
        f"main([{str(deployed)!r}, {str(deployed / '0.png')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "larq-equalbits-runtime[images]" in done.stderr
    assert "Traceback" not in done.stderr


def _quantized(shape, packed, inputs=1, outputs=1):
    """A file with one operator."""
    file = File()
    image, words = file.tensor(shape, np.float32), file.tensor(packed, np.int32)
    file.custom("LceQuantize", [image], [words])
    return file.finish([image][:inputs], [words][:outputs])


def _not_finite():
    file = File()
    image, scores = file.tensor((1, 8, 8, 1), np.float32), file.tensor((1, 10), np.float32)
    file.dense([image, file.constant(np.full((10, 64), np.nan, np.float32)), -1], scores)
    return file.finish([image], [scores])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda _: _not_finite(), "must answer with finite scores, but for"),
        (lambda pair: pair.tflite, "must take one image"),
        (lambda _: _quantized((1, 8), (1, 1)), "must take one image"),
        (lambda _: _quantized((1, 8, 8, 33), (1, 8, 8, 2)), "must answer with scores of classes"),
        (lambda _: _quantized((1, 1, 1, 1), (1, 1, 1, 1)), "must answer with scores of classes"),
        (lambda _: _quantized((1, 8, 8, 1), (1, 8, 8, 1), inputs=0), "outputs, but has 0 and 1"),
        (lambda _: _quantized((1, 8, 8, 1), (1, 8, 8, 1), outputs=0), "outputs, but has 1 and 0"),
    ],
)
def test_a_model_without_one_image_or_without_classes_is_refused(deployed, pair, content, words):
    tflite = content(pair)
    (deployed / "other.tflite").write_bytes(tflite)
    described = _with(sha256=hashlib.sha256(tflite).hexdigest())((deployed / "model.json").read_text())
    (deployed / "other.json").write_text(described)
    done = run(deployed / "other.tflite", deployed / "0.png")
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (None, ""),
        (8, ""),
        (
            7,
            "must be 1 arrays for this model, all of 4 rows or a multiple of that, but have the shapes [(7, 8)]",
        ),
        ("damaged", "must be an .npz with arr_0, arr_1, ... in it, but"),
        ("npy", "must be an .npz with arr_0, arr_1, ... in it, but"),
    ],
)
def test_the_benchmark_runs_batches_of_the_files_own_size(tmp_path, rows, words):
    (tmp_path / "model.tflite").write_bytes(_quantized((4, 8), (4, 1)))
    inputs, outputs = tmp_path / "inputs.npz", tmp_path / "outputs.npz"
    if rows == "damaged":
        inputs.write_bytes(b"PK\3\4" + bytes(50))
    elif rows == "npy":
        with open(inputs, "wb") as file:
            np.save(file, np.ones((8, 8), np.float32))
    elif rows:
        np.savez(inputs, np.arange(rows, dtype=np.float32)[:, None] - np.full((1, 8), 3, np.float32))
    line = [sys.executable, "-m", "larq_equalbits_runtime.benchmark", str(tmp_path / "model.tflite")]
    line += ["--repeats=1", "--rounds=1", f"--outputs={outputs}", *([f"--inputs={inputs}"] if rows else [])]
    done = subprocess.run(line, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and words in done.stderr and done.returncode == (2 if words else 0)
    if rows == 8:
        assert np.load(outputs)["arr_0"].ravel().tolist() == [255] * 3 + [0] * 5


def test_the_installed_program_answers():
    program = shutil.which("larq-equalbits-run", path=str(__import__("pathlib").Path(sys.executable).parent))
    if program is None:
        pytest.skip("the runtime is not installed as a package")
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and "plain" in done.stdout


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize(
    ("height", "width", "target"), [(8, 8, (8, 8)), (9, 6, (36, 24)), (100, 60, (10, 6)), (3, 2, (6, 4))]
)
def test_images_are_resized_as_in_training(height, width, target, smooth):
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.float32)
    np.testing.assert_allclose(
        _images.fit(pixels, *target, smooth=smooth),
        tf.image.resize(pixels, target, antialias=smooth).numpy(),
        rtol=0,
        atol=1e-3,
    )


@pytest.mark.parametrize(
    "kind",
    ["RGB", "L", "RGBA", "P", "16 bits", "turned", "turned, of 16 bits", "old 16 bits", "larger", "wide"],
)
def test_images_are_read_as_training_reads_a_folders(tmp_path, kind, monkeypatch):
    from PIL import Image, PngImagePlugin

    from larq_equalbits.data import folders

    random = np.random.default_rng(0)
    height, width = {"larger": (40, 40), "wide": (16, 32)}.get(kind, (8, 8))
    if "16 bits" in kind:
        image = Image.fromarray(random.integers(0, 65536, (height, width), np.uint16))
    else:
        image = Image.fromarray(random.integers(0, 256, (height, width, 4), np.uint8))
        image = image if kind == "RGBA" else image.convert(kind if kind in ("L", "P") else "RGB")
    exif = Image.Exif()
    if "old" in kind:
        # As Pillow up to 10.2 has it.
        monkeypatch.setitem(PngImagePlugin._MODES, (16, 0), ("I", "I;16B"))
    exif[0x0112] = 6 if "turned" in kind else 1
    image.save(tmp_path / "image.png", exif=exif, **({"transparency": 3} if kind == "P" else {}))
    found = _images.fit(_images.decode(tmp_path / "image.png", 3), 8, 8)
    assert np.median(found) < 250
    # Pillow rounds after each direction.
    np.testing.assert_allclose(found, folders._image(tmp_path / "image.png", 8), rtol=0, atol=1)


def test_the_centre_of_imagenets_images_is_taken_as_in_training(tmp_path):
    from PIL import Image

    from larq_equalbits.data import augmentation

    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    description = Description(tmp_path, (), (0.0,) * 3, (1 / 255,) * 3, (), "imagenet2012")
    found = _images.load(tmp_path / "image.png", (1, 224, 224, 3), description)
    np.testing.assert_allclose(found[0], augmentation.central_crop(pixels).numpy(), rtol=0, atol=1e-2)


def test_the_centre_of_an_image_is_taken():
    pixels = np.zeros((100, 300, 1), np.float32)
    pixels[:, 100:200] = 1
    np.testing.assert_allclose(_images.fit(pixels, 10, 10, smooth=False), np.ones((10, 10, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.0, 0.0], [0.5, 0.5]), ([0.25, 0.75], [0.25, 0.75]), ([1000.0, 0.0], [1, 0]), ([0, 1], [0, 1])],
)
def test_probabilities(scores, expected):
    np.testing.assert_allclose(command.probabilities(np.asarray(scores)), expected, atol=1e-12)


def test_what_convert_writes_is_read(small, tmp_path):
    from larq_equalbits import data, export

    pytest.importorskip("sklearn")
    pytest.importorskip("tensorflow_datasets")
    digits = data.load("digits")
    export.convert(small.keras, tmp_path / "model.tflite", images=digits, verify_on=False)
    found = Description.beside(tmp_path / "model.tflite", (tmp_path / "model.tflite").read_bytes())
    assert found.mean == tuple(digits.mean) and found.labels == tuple(digits.labels)
    assert found.dataset == "digits"
