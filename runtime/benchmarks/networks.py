"""Counts the instructions that whole networks take on an ARM processor, under qemu's emulation of LiteRT's own wheel.

    python benchmarks/networks.py [NETWORK ...] [--cpu cortex-a72] [--library FILE] [--json FILE]

Every network of the zoo is counted three times: binary with our library, float, and in 8-bit integers as TensorFlow's
converter makes it. One thread, one image of 32x32 pixels in colour, the second and the third inference of a process.
It needs larq-equalbits, what tests/emulated.sh and benchmarks/instructions.py need, and a package index.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

from instructions import COMPILER, HERE, SOURCES, plugin

BUILD = HERE.parent / "build"
ROOT, PACKAGES = BUILD / "arm64", BUILD / "arm64-packages"
SHAPE, CLASSES = (32, 32, 3), 10
# As setup.py compiles it.
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fvisibility=hidden")
LINKED = ("-pthread", "-s", "-static-libstdc++", "-static-libgcc")
# name, the zoo's builder, its form, the most instructions of the binary network
NETWORKS = (
    ("vgg_small, fused", "vgg_small", "fused", 20_000_000),
    ("vgg_small", "vgg_small", None, 20_000_000),
    ("resnet18", "resnet18", None, None),
    ("resnet20", "resnet20", None, None),
    ("conv2", "conv2", None, None),
    ("shufflenet", "shufflenet", None, None),
)
KINDS = ("binary", "float", "int8")

# The calls of getppid mark for the plugin what it is to count.
INSIDE = """
import os, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, load_delegate

runner = Interpreter(sys.argv[2], num_threads=1, experimental_delegates=[load_delegate(sys.argv[1])])
runner.allocate_tensors()
(given,) = runner.get_input_details()
random = np.random.default_rng(0)
runner.set_tensor(given["index"], random.normal(size=given["shape"]).astype(given["dtype"]))
runner.invoke()
os.getppid()
runner.invoke()
runner.invoke()
os.getppid()
"""


def convert(builder: str, form: str | None, kind: str) -> bytes:
    """A network of the zoo as a file, untrained: which weights it has does not change what is counted."""
    from larq_equalbits import export, zoo  # isort: skip (selects Keras 2 before TensorFlow is loaded)
    import numpy as np
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    options = {} if form is None else {"form": form}
    if kind != "binary":
        options |= {"quantizer": None, "input_quantizer": None}
    model = zoo.get(builder)(input_shape=SHAPE, num_classes=CLASSES, **options)
    if kind == "binary":
        # An untrained ShuffleNet adds numbers that cancel before a sign: rounding gives such a file other classes.
        return export.convert(model, strict=False, verify_on=False).tflite
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind == "int8":
        images = np.random.default_rng(0).normal(size=(16, 1, *SHAPE)).astype(np.float32)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return converter.convert()


def make_system(folder: Path) -> None:
    """An ARM system's files with Python and LiteRT, kept in build/ for the next time."""
    subprocess.run(["bash", HERE.parent / "tests" / "emulated.sh", folder, "true"], check=True)
    wanted = [f"ai-edge-litert=={version('ai-edge-litert')}", f"numpy=={version('numpy')}"]
    mark = PACKAGES / "installed"
    if mark.is_file() and mark.read_text().split() == wanted:
        return
    shutil.rmtree(PACKAGES, ignore_errors=True)
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)]
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", PACKAGES, "--only-binary=:all:"]
    debian = ["--platform=manylinux2014_aarch64", "--implementation=cp", "--python-version=311"]
    subprocess.run([*install, *platforms, *debian, *wanted], check=True)
    mark.write_text("\n".join(wanted))


def build(folder: Path) -> Path:
    """The library, compiled for ARM."""
    library = folder / "library.so"
    subprocess.run(
        [COMPILER, *FLAGS, *LINKED, *sorted(SOURCES.glob("*.cc")), "-ldl", "-o", library], check=True
    )
    return library


def count(counter: Path, library: Path, model: Path, cpu: str) -> int:
    """Instructions of an inference."""
    emulator = ["qemu-aarch64", "-cpu", cpu, "-L", ROOT, "-plugin", counter]
    done = subprocess.run(
        [*emulator, ROOT / "usr/bin/python3.11", "-c", INSIDE, library, model],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGES), "PYTHONHASHSEED": "0"},
    )
    marks = [int(found) for found in re.findall(r"^mark (\d+)$", done.stderr, re.M)]
    if done.returncode or len(marks) < 2:
        raise SystemExit(f"networks.py: {model.name} did not run under {cpu}: {done.stderr.strip()[-500:]}")
    return (marks[-1] - marks[-2]) // 2


def measure(names: list[str], cpu: str, library: Path | None) -> list[dict]:
    """A row for each network, with the instructions of every kind."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_system(folder)
        counter, library = plugin(folder), library or build(folder)
        for name, builder, form, most in NETWORKS:
            if names and name not in names:
                continue
            row: dict = {"network": name, "most": most}
            for kind in KINDS:
                model = folder / f"{kind} {name}.tflite"
                model.write_bytes(convert(builder, form, kind))
                row[kind] = count(counter, library, model, cpu)
            rows.append(row)
            print(
                f"{name:18}" + "".join(f"{row[kind]:15,}" for kind in KINDS) + f"{most or '':>15}", flush=True
            )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; exit status 1 where a network takes more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [name for name, *_ in NETWORKS]
    parser.add_argument(
        "networks", nargs="*", metavar="NETWORK", help=f"of {'; '.join(known)} (default: all)"
    )
    parser.add_argument("--cpu", default="cortex-a72", help="processor to emulate (default: cortex-a72)")
    parser.add_argument("--library", type=Path, help="a compiled library (default: compiled by g++)")
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    options = parser.parse_args(arguments)
    unknown = set(options.networks) - set(known)
    if unknown:
        parser.error(f"NETWORK must be one of {'; '.join(known)}, but got {', '.join(sorted(unknown))}")
    missing = [name for name in ("qemu-aarch64", COMPILER, "mmdebstrap") if shutil.which(name) is None]
    if missing:
        packages = "qemu-user qemu-user-static g++-aarch64-linux-gnu mmdebstrap"
        print(f"networks.py: missing {' and '.join(missing)}: apt install {packages}")
        return 2
    print(f"{'instructions':18}" + "".join(f"{kind:>15}" for kind in (*KINDS, "at most")))
    rows = measure(options.networks, options.cpu, options.library)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["most"] is not None and row["binary"] > row["most"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
