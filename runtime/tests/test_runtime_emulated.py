"""The wheels of scripts/build_runtime.sh, installed by pip here and in Debian on an emulated ARM processor."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from larq_equalbits import zoo
from larq_equalbits.device import wheels

ROOT = Path(__file__).parents[2]
EMULATED = Path(__file__).parent / "emulated.sh"
#: The Pythons of Debian 12 and 13.
DEBIAN = {
    "": wheels.Python("python3", (3, 11), "aarch64", 36),
    "trixie": wheels.Python("python3", (3, 13), "aarch64", 41),
}

# A build for two processors, and an emulated one, take minutes where other programs run too.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def check(command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built():
    """The wheel for each machine and the source package, by "x86_64", "aarch64" and "source"."""
    check(["bash", ROOT / "scripts" / "build_runtime.sh"])
    dist = ROOT / "runtime" / "dist"
    (source,) = dist.glob("*.tar.gz")
    wheels = {name: next(dist.glob(f"*manylinux_2_17_{name}.whl")) for name in ("x86_64", "aarch64")}
    return {**wheels, "source": source}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with a trained network, its model.json and ten test images; and what LCE answers to each."""
    import tensorflow as tf

    from larq_equalbits import data, export, zoo
    from larq_equalbits.export import interpreter

    pytest.importorskip("sklearn")
    pytest.importorskip("tensorflow_datasets")
    pillow = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("digits")
    images = data.load("digits")
    tf.keras.utils.set_random_seed(0)
    model = zoo.conv2(input_shape=images.input_shape, num_classes=images.num_classes, width=0.25)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images.train, epochs=2, verbose=0)
    export.convert(model, folder / "model.tflite", images=images)
    some = next(iter(images.test))[0].numpy()[:10]
    pixels = np.clip(np.round((some * images.std + images.mean) * 255), 0, 255).astype(np.uint8)
    for number, image in enumerate(pixels):
        pillow.fromarray(image[..., 0]).save(folder / f"{number}.png")
    again = ((pixels / np.float32(255) - images.mean) / images.std).astype(np.float32)
    runner = interpreter.load(folder / "model.tflite")
    (scores,) = runner.predict({runner.inputs[0].key: again}).values()
    return folder, [images.labels[k] for k in scores.argmax(axis=1)]


def answers(text):
    return [image["classes"][0]["label"] for image in json.loads(text.splitlines()[-1])["images"]]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="installs the wheel for x86-64")
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_the_wheel_installs_on_this_machine(built, digits, tmp_path, version):
    # A version manager puts programs of that name on PATH that refuse to run.
    found = shutil.which(f"python{version}")
    if not found or subprocess.run([found, "-c", "pass"], capture_output=True).returncode:
        pytest.skip(f"needs Python {version}")
    folder, expected = digits
    check([found, "-m", "venv", tmp_path / "env"])
    python = tmp_path / "env" / "bin" / "python"
    check([python, "-m", "pip", "install", "--quiet", f"{built['x86_64']}[images]"])
    images = sorted(folder.glob("*.png"))
    found = check(
        [python.with_name("larq-equalbits-run"), folder / "model.tflite", *images, "--json"], cwd=tmp_path
    )
    assert answers(found) == expected
    assert "tensorflow" not in check([python, "-m", "pip", "list"]).lower()


@pytest.fixture(scope="module")
def raspberry(built, request, tmp_path_factory):
    """A folder for the emulated machine with what pip needs there, and a function that runs a command in it.

    Its parameter is the suite of Debian.
    """
    for tool, package in (("mmdebstrap", "mmdebstrap"), ("unshare", "util-linux")):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}: apt-get install {package}")
    if not (shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")):
        pytest.skip("needs qemu-aarch64: apt-get install qemu-user-static")
    if subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True
    ).returncode:
        pytest.skip("needs a kernel that allows user namespaces")
    folder = tmp_path_factory.mktemp("raspberry")
    for wanted in (f"{built['aarch64']}[images]", "setuptools"):
        assert not wheels.dependencies(wanted, DEBIAN[request.param], folder / "wheels", 600)
    shutil.copy(built["source"], folder)

    def run(*command, cpu="cortex-a72"):
        environment = {**os.environ, "QEMU_CPU": cpu, "SUITE": request.param}
        return check(["bash", EMULATED, folder, *command], env=environment)

    return folder, run


@pytest.mark.parametrize(
    ("raspberry", "what"), [("", "wheel"), ("", "source"), ("trixie", "wheel")], indirect=["raspberry"]
)
def test_pip_installs_it_on_an_emulated_arm_machine(raspberry, digits, what):
    folder, run = raspberry
    model, expected = digits
    shutil.copytree(model, folder / "model", dirs_exist_ok=True)
    assert run("uname", "-m") == "aarch64\n"
    env = f"env-{what}"
    run("python3", "-m", "venv", env)
    package = "larq-equalbits-runtime[images]"
    if what == "source":
        (source,) = folder.glob("*.tar.gz")
        (wheel,) = (folder / "wheels").glob("larq_equalbits_runtime-*.whl")
        wheel.unlink()
        package = f"./{source.name}[images]"
    start = time.monotonic()
    run(f"{env}/bin/pip", "install", "--quiet", "--no-index", "--find-links", "wheels", package)
    print(f"pip install of the {what}: {time.monotonic() - start:.0f} s, emulated")
    images = [f"model/{path.name}" for path in sorted(model.glob("*.png"))]
    found = run(f"{env}/bin/larq-equalbits-run", "model/model.tflite", *images, "--threads", "2", "--json")
    assert answers(found) == expected
    assert json.loads(found.splitlines()[-1])["kernels"].startswith("neon")
    for cpu in ("cortex-a53", "cortex-a76"):
        arguments = ("model/model.tflite", *images, "--json")
        assert answers(run(f"{env}/bin/larq-equalbits-run", *arguments, cpu=cpu)) == expected


#: Runs in the emulated system: library, model, images, and the file for the answers.
ANSWER = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, load_delegate

library, model, images, answers = sys.argv[1:]
runner = Interpreter(model, num_threads=2, experimental_delegates=[load_delegate(library)])
runner.allocate_tensors()
(given,), (answered,) = runner.get_input_details(), runner.get_output_details()
rows = []
for image in np.load(images):
    runner.set_tensor(given["index"], image[None])
    runner.invoke()
    rows.append(runner.get_tensor(answered["index"])[0])
np.save(answers, np.stack(rows))
"""


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    """Makes a command that runs Python code with arguments in an emulated processor; and the library for it."""
    for tool in ("qemu-aarch64", "aarch64-linux-gnu-g++", "mmdebstrap"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
    sys.path.insert(0, str(ROOT / "runtime" / "benchmarks"))
    import networks

    folder = tmp_path_factory.mktemp("arm")
    networks.make_system(folder)
    python = ["qemu-aarch64", "-L", networks.ROOT, "-E", f"PYTHONPATH={networks.PACKAGES}", "-cpu"]
    return lambda cpu: [*python, cpu, networks.ROOT / "usr/bin/python3.11", "-c"], networks.build(folder)


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_network_answers_on_arm_as_here(arm, build, tmp_path, name):
    from larq_equalbits_runtime import Interpreter

    from larq_equalbits import export

    content = export.convert(build(name), strict=False, verify_on=False).tflite
    (tmp_path / "model.tflite").write_bytes(content)
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    expected = Interpreter(tmp_path / "model.tflite").predict(images)
    command, library = arm
    for cpu in ("cortex-a53", "cortex-a72", "cortex-a76"):
        files = [tmp_path / file for file in ("model.tflite", "images.npy", "answers.npy")]
        check([*command(cpu), ANSWER, library, *files])
        found = np.load(tmp_path / "answers.npy")
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
        np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("network", ["vgg_small", "vgg_small, fused"])
def test_vgg_small_takes_no_more_instructions_than_it_may(network):
    for tool in ("qemu-aarch64", "aarch64-linux-gnu-g++", "mmdebstrap"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
    print(check([sys.executable, ROOT / "runtime" / "benchmarks" / "networks.py", network]))
