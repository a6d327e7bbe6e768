"""A program that takes the options of LCE's lce_benchmark_model and prints what it prints.

It really runs the model, through the kernels of LCE's Python package, on the raw arrays in the value files,
and writes the raw outputs. Only the profile's times are shared out evenly, because those kernels tell no more.
It imports no TensorFlow, so a start takes a fraction of a second.

--style=new prints as newer benchmark_models do; --style=old as older ones, which write to standard error, know
no --output_filepath and take another option for the profile's file.
"""

import importlib.util
import re
import sys
import time
from pathlib import Path

import numpy as np

_NEW_ONLY = ("op_profiling_output_mode", "op_profiling_output_file", "output_filepath")
_KNOWN = (
    "graph", "num_threads", "num_runs", "warmup_runs", "min_secs", "warmup_min_secs", "max_secs",
    "input_layer",
    "input_layer_shape", "input_layer_value_files", "enable_op_profiling", "profiling_output_csv_file",
    "report_peak_memory_footprint", "use_indirect_bgemm", "use_reference_bconv", "style", *_NEW_ONLY,
)  # fmt: skip


def known_flags(style):
    return [name for name in _KNOWN if style == "new" or name not in _NEW_ONLY]


def load_module(package, pattern):
    path = next(path for folder in sys.path for path in Path(folder, *package.split(".")).glob(pattern))
    name = path.name.partition(".")[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def operator_names(data):
    schema = load_module("tensorflow.lite.python", "schema_py_generated.py")
    builtin = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    root = schema.Model.GetRootAs(data, 0)
    graph = root.Subgraphs(0)
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = root.OperatorCodes(operator.OpcodeIndex())
        kind = code.CustomCode().decode() if code.CustomCode() else builtin[code.BuiltinCode()]
        yield kind, graph.Tensors(operator.Outputs(0)).Name().decode()


def read_flags(arguments):
    matches = (re.fullmatch(r"--(\w+)=(.*)", argument, re.S) for argument in arguments)
    return {"style": "new", **{match[1]: match[2] for match in matches if match}}


def value_files(text, style):
    files = {}
    for item in text.split(","):
        parts = re.split(r"(?<!\\):" if style == "new" else ":", item)
        if len(parts) != 2:
            raise RuntimeError(f"Wrong input value file item specified: {item}")
        files[parts[0].replace("\\:", ":")] = parts[1]
    return files


def read_inputs(flags, interpreter):
    shapes, types = interpreter.input_shapes, interpreter.input_types
    if "input_layer" not in flags:
        return [np.ones(shape, kind) for shape, kind in zip(shapes, types, strict=True)]
    names = flags["input_layer"].split(",")
    given = [tuple(map(int, shape.split(","))) for shape in flags["input_layer_shape"].split(":")]
    if len(names) != len(shapes) or given != [tuple(shape) for shape in shapes]:
        raise RuntimeError(f"Inputs mismatch: {names} {given}, the model has {shapes}")
    files = value_files(flags["input_layer_value_files"], flags["style"])
    arrays = []
    for name, shape, kind in zip(names, shapes, types, strict=True):
        content = Path(files[name]).read_bytes()
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        if len(content) != size:
            raise RuntimeError(
                f"The size of {files[name]} is {len(content)} bytes. It should be {size} bytes."
            )
        arrays.append(np.frombuffer(content, kind).reshape(shape))
    return arrays


def phase(interpreter, arrays, count, style, log):
    log(f"Running benchmark for at least {count} iterations and at least 0 seconds but terminate later.")
    times, outputs = [], None
    for _ in range(count):
        start = time.perf_counter()
        outputs = interpreter.predict(arrays)
        times.append(max(1, round(1e6 * (time.perf_counter() - start))))
    if not times:
        log("count=0\n")
    elif len(set(times)) == 1:
        log(f"count={count} curr={times[0]} (all same)\n")
    else:
        line = f"count={count} first={times[0]} curr={times[-1]} min={min(times)} max={max(times)} "
        line += f"avg={np.mean(times):g} std={round(np.std(times))}"
        if style == "new":
            ordered = sorted(times)
            for name, share in (("p5", 0.05), ("median", 0.5), ("p95", 0.95)):
                line += f" {name}={ordered[int(count * share)]}"
        log(line + "\n")
    return times, outputs


def profile(data, mean_us, csv):
    rows = list(operator_names(data))
    share, title = mean_us / 1000 / len(rows), "=" * 30 + " {} " + "=" * 30
    header = "\t    [node type]\t [first]\t [avg ms]\t [%]\t [cdf%]\t [mem KB]\t[times called]\t[Name]"
    if csv:
        header = "node type, first, avg_ms, %, cdf%, mem KB, times called, name"
    lines = ["Operator-wise Profiling Info for Regular Benchmark Runs:", title.format("Run Order"), header]
    for position, (kind, name) in enumerate(rows):
        cells = [kind, share, share, f"{100 / len(rows)}%", f"{100 * (position + 1) / len(rows)}%", 0, 1]
        cells.append(f"[{name}]:{position}")
        lines.append((", " if csv else "\t").join(map(str, cells)))
    top = title.format("Top by Computation Time")
    return "\n".join([*lines, "", top, "", f"Timings (microseconds): count=1 curr={mean_us}", ""])


def benchmark(flags):
    style = flags["style"]
    stream = sys.stdout if style == "new" else sys.stderr

    def log(line):
        print(("INFO: " if style == "new" else "") + line, file=stream)

    log("STARTING!")
    unknown = [f"--{name}" for name in flags if name not in known_flags(style)]
    if unknown:
        log("Unconsumed cmdline flags: " + " ".join(unknown))
    data = Path(flags["graph"]).read_bytes()
    start = time.perf_counter()
    wrapper = load_module("larq_compute_engine.tflite.python", "interpreter_wrapper_lite*.so")
    interpreter = wrapper.LiteInterpreter(data, int(flags["num_threads"]), False, True, False)
    arrays = read_inputs(flags, interpreter)
    init_us = round(1e6 * (time.perf_counter() - start))
    log(f"Loaded model {flags['graph']}")
    warmup, _ = phase(interpreter, arrays, int(flags.get("warmup_runs", 1)), style, log)
    times, outputs = phase(interpreter, arrays, int(flags.get("num_runs", 50)), style, log)
    warm = np.mean(warmup) if warmup else 0
    if style == "new":
        first = warmup[0] if warmup else 0
        log(f"Inference timings in us: Init: {init_us}, First inference: {first}, Warmup (avg): {warm:g}, "
            f"Inference (avg): {np.mean(times):g}")  # fmt: skip
        log("Memory footprint delta from the start of the tool (MB): init=1.5 overall=3.25")
        if flags.get("report_peak_memory_footprint") == "true":
            log("Overall peak memory footprint (MB) via periodic monitoring: 12.5")
        if "output_filepath" in flags:
            Path(flags["output_filepath"]).write_bytes(b"".join(array.tobytes() for array in outputs))
    else:
        log(
            f"Average inference timings in us: Warmup: {warm:g}, Init: {init_us}, "
            f"Inference: {np.mean(times):g}"
        )
        log("Peak memory footprint (MB): init=1.5 overall=3.25")
    if flags.get("enable_op_profiling") == "true":
        csv = flags.get("op_profiling_output_file" if style == "new" else "profiling_output_csv_file")
        text = profile(data, float(np.mean(times)), csv is not None)
        if csv:
            Path(csv).write_text(text)
        else:
            print(text)


def main():
    flags = read_flags(sys.argv[1:])
    if "--help" in sys.argv:
        lines = [f"\t--{name}=" for name in known_flags(flags["style"])]
        print("usage: lce_benchmark_model <flags>", *lines, sep="\n", file=sys.stderr)
        return 1
    try:
        benchmark(flags)
    except (OSError, RuntimeError) as error:
        print(f"ERROR: {error}\nERROR: Benchmarking failed.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
