"""Tries the runtime's library in the Python packages of TensorFlow Lite that it is made for.

    python scripts/runtime_compatibility.py [PACKAGE==VERSION ...]

Every package gets a fresh environment, into which pip installs it, and answers a small network with Larq Compute
Engine's operators there. The answers must be those of its interpreter here. It needs the development environment, a
package index, and 3 GB of disk at a time; a minute or two a package.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HOSTS = (
    "ai-edge-litert==1.0.0",
    "ai-edge-litert==2.3.0",
    "ai-edge-litert-nightly==2.4.0.dev20261026",
    "tensorflow==2.16.2",
    "tensorflow==2.21.0",
    "tflite-runtime==2.14.0",
)
MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "ai-edge-litert-nightly": "ai_edge_litert.interpreter",
    "tensorflow": "tensorflow.lite",
    "tflite-runtime": "tflite_runtime.interpreter",
}
INSIDE = """
import importlib, json, sys
import numpy as np

module, library, folder = sys.argv[1:]
if module == "tensorflow.lite":
    import tensorflow
    lite, load = tensorflow.lite, tensorflow.lite.experimental.load_delegate
else:
    lite = importlib.import_module(module)
    load = lite.load_delegate
images, expected = np.load(folder + "/images.npy"), np.load(folder + "/answers.npy")
found = {}
for ternary in ("0", "1"):
    delegate = load(library, {"ternary": ternary})
    runner = lite.Interpreter(folder + "/model.tflite", num_threads=2, experimental_delegates=[delegate])
    runner.allocate_tensors()
    (given,), (answered,) = runner.get_input_details(), runner.get_output_details()
    rows = []
    for image in images:
        runner.set_tensor(given["index"], image[None])
        runner.invoke()
        rows.append(runner.get_tensor(answered["index"])[0])
    found[ternary] = float(np.abs(np.stack(rows) - expected).max() / np.abs(expected).max())
print(json.dumps(found))
"""


def write_model(folder: Path) -> None:
    """A network with every operator and a pruned convolution, images, and LCE's answers to them."""
    from larq_equalbits import export, pruning  # isort: skip (selects Keras 2 before TensorFlow is loaded)
    import larq
    import numpy as np
    import tensorflow as tf

    from larq_equalbits.export import interpreter

    tf.keras.utils.set_random_seed(1)
    binary = {"input_quantizer": "ste_sign", "kernel_quantizer": "bi_half", "use_bias": False}
    layers = [
        tf.keras.Input((12, 12, 32)),
        larq.layers.QuantConv2D(64, 3, padding="same", pad_values=1, **binary),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.MaxPooling2D(),
        larq.layers.QuantConv2D(64, 3, padding="same", pad_values=1, **binary),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.GlobalAveragePooling2D(),
        tf.keras.layers.Dense(5),
    ]
    model = pruning.prune(tf.keras.Sequential(layers), sparsity=0.5)
    content = export.convert(model, strict=False).tflite
    images = np.random.default_rng(0).normal(size=(8, 12, 12, 32)).astype(np.float32)
    runner = interpreter.load(content)
    (answers,) = runner.predict({runner.inputs[0].key: images}).values()
    (folder / "model.tflite").write_bytes(content)
    np.save(folder / "images.npy", images)
    np.save(folder / "answers.npy", answers)


def install(python: Path, host: str) -> str:
    """Makes an environment with a package; returns what pip complained of, "" for nothing."""
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", python.parents[1]], check=True)
    # Wheels of before 2024 were compiled against the first NumPy.
    old = ["numpy<2"] if host.split("==")[0] != "tensorflow" else []
    pip = [python, "-m", "pip", "install", "--quiet", "--no-compile", host, *old]
    done = subprocess.run(pip, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def attempt(host: str, folder: Path) -> str:
    """The largest differences from LCE's answers, by the option ternary; else a line that says what went wrong."""
    from larq_equalbits_runtime import library_path

    with tempfile.TemporaryDirectory() as scratch:
        python = Path(scratch) / "env" / "bin" / "python"
        complaint = install(python, host)
        if complaint:
            return f"FAILS: pip says {complaint}"
        arguments = [MODULES[host.split("==")[0]], library_path(), str(folder)]
        done = subprocess.run([python, "-c", INSIDE, *arguments], capture_output=True, text=True, cwd=scratch)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        refusals = [line for line in lines if "larq-equalbits: " in line]
        return f"FAILS: {(refusals or lines)[-1]}"
    found = json.loads(done.stdout.splitlines()[-1])
    worst = max(found.values())
    return f"{'works' if worst < 1e-4 else 'FAILS'}: differs from LCE by {worst:.1e} of the largest answer"


def main() -> int:
    """Prints a line for each package; exit status 1 where one does not work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hosts", nargs="*", default=HOSTS, metavar="PACKAGE==VERSION", help=", ".join(HOSTS))
    hosts = parser.parse_args().hosts
    unknown = [host for host in hosts if host.split("==")[0] not in MODULES]
    if unknown:
        parser.error(f"PACKAGE must be one of {', '.join(MODULES)}, but got {', '.join(unknown)}")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        for host in hosts:
            line = attempt(host, Path(folder))
            print(f"{host}: {line}", flush=True)
            failed = failed or not line.startswith("works")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
