"""Models on this machine: the interpreter, a program like lce_benchmark_model, and the report."""

import csv
import dataclasses
import io
import json
import os
import shlex
import struct
import sys
from pathlib import Path

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import device, export
from larq_equalbits._errors import InputError
from larq_equalbits._text import render
from larq_equalbits.device import benchmark_model, chart, checks, models, shells, table
from larq_equalbits.export.results import Verification, describe

larq_compute_engine = pytest.importorskip("larq_compute_engine")
PROGRAM = Path(__file__).parent.parent / "programs" / "lce_benchmark_model.py"


def test_local_measures_and_agrees_with_keras(measured, converted, images):
    model, tflite = converted
    labels = np.argmax(model(images).numpy(), axis=1)
    report = measured({"small": tflite}, "local", keras_model=model, labels=labels, threads=(1, 2))
    found = [(result.model, result.device, result.threads) for result in report.results]
    assert found == [("small", "local", 1), ("small", "local", 2)]
    for result in report.results:
        assert result.latency.count == 5 and len(result.latency.rounds_ms) == 1
        assert 0 < result.latency.min_ms <= result.latency.median_ms <= result.latency.max_ms < 1000
        assert result.outputs[0].shape == (2, 10)
        np.testing.assert_allclose(result.outputs[0], model(images[:2]), atol=1e-3)
        assert result.agreement("keras").argmax == 1 and result.agreement("keras").max_difference < 1e-3
        assert result.agreement("host").images == 2
        assert (result.accuracy, result.accuracy_images, result.size_bytes) == (1.0, 2, len(tflite))
    assert not report.failures


def test_memory_of_local_is_that_of_the_model_each_time(measured):
    layers = [tf.keras.layers.Input((256, 256, 16)), tf.keras.layers.MaxPooling2D()]
    file = larq_compute_engine.convert_keras_model(tf.keras.Sequential(layers))
    report = measured(file, "local", np.zeros((1, 256, 256, 16), np.float32), threads=(1, 2))
    # Input and output take 4096 and 1024 KiB.
    assert [5000 < result.memory_kib < 20_000 for result in report.results] == [True, True]


def test_local_answers_for_every_image_and_a_program_for_eight(measured, converted, images, write_program):
    model, tflite = converted
    many = np.concatenate([images] * 2)
    labels = np.argmax(model(many).numpy(), axis=1)
    labels[:3] = (labels[:3] + 1) % 10
    targets = ["local", "program"]
    report = measured(tflite, targets, many, labels=labels, program=write_program(), images=None)
    assert [result.accuracy_images for result in report.results] == [12, 8]
    assert [result.agreement("host").images for result in report.results] == [12, 8]
    shown = render(table.results(report.results))
    assert "9 of 12" in shown and "5 of 8" in shown


@pytest.mark.parametrize("style", ["new", "old"])
def test_program_brings_back_times_memory_profile_and_outputs(
    measured, converted, write_program, style, folders
):
    model, tflite = converted
    before, seen = folders(), []
    options = {"program": write_program(style), "rounds": 2}
    report = measured(tflite, "program", keras_model=model, progress=seen.append, **options)
    (result,) = report.results
    assert not report.failures
    assert result.latency.count == 10 and result.latency.statistic == ("median" if style == "new" else "mean")
    assert result.memory_kib == 3.25 * 1024 and result.init_ms > 0
    kinds = [operator.type for operator in result.operators]
    assert kinds == ["CONV_2D", "LceQuantize", "LceBconv2d", "MEAN", "FULLY_CONNECTED"]
    assert abs(sum(operator.percent for operator in result.operators) - 100) < 1e-3
    if style == "new":
        assert result.peak_kib == 12.5 * 1024
        assert result.agreement("host").identical and result.agreement("keras").argmax == 1
        assert any("image 2 of 2" in line for line in seen)
    else:
        assert not result.outputs and any("writes no outputs" in note for note in result.notes)
    assert report.devices["program"]["machine"] == os.uname().machine
    assert folders() == before


def test_program_takes_a_prefix_and_a_command_line(measured, converted, write_program):
    program = write_program()
    for given in (
        {"program": program, "prefix": "env -i"},
        {"program": f"env -i {shlex.quote(str(program))}"},
        {"program": [sys.executable, str(PROGRAM)], "flags": ["--use_indirect_bgemm=true"]},
    ):
        (result,) = measured(converted[1], "program", profile=False, **given).results
        assert not result.failure and result.agreement("host").identical


def test_several_inputs_and_outputs_keep_their_order_and_names_with_a_colon(measured, write_program):
    left, right = tf.keras.Input((4, 4, 1), name="zebra"), tf.keras.Input((6,), name="ant")
    joined = tf.keras.layers.Concatenate()([tf.keras.layers.Flatten()(left), right])
    summed = tf.keras.layers.Dense(3, name="summed")(joined)
    model = tf.keras.Model([left, right], [summed, tf.keras.layers.Dense(2, name="a_doubled")(right)])
    tflite = larq_compute_engine.convert_keras_model(model)
    generator = np.random.default_rng(1)
    inputs = {
        "zebra": generator.normal(size=(4, 4, 4, 1)).astype(np.float32),
        "ant": generator.normal(size=(4, 6)).astype(np.float32),
    }
    (parsed,) = models.load(tflite)
    assert all(":" in tensor.name for tensor in parsed.inputs)
    assert not any(":" in name for name in benchmark_model.layer_names(parsed.inputs))
    (result,) = measured(tflite, "program", inputs, keras_model=model, program=write_program()).results
    assert not result.failure
    assert result.agreement("keras").max_difference < 1e-5
    assert result.agreement("host").identical
    assert sorted(array.shape for array in result.outputs) == [(2, 2), (2, 3)]


def test_a_program_that_dies_leaves_what_was_measured(measured, converted, write_program, tmp_path, folders):
    count = shlex.quote(str(tmp_path / "starts"))
    dying = write_program(before=f"echo x >>{count}; [ $(wc -l <{count}) -gt 3 ] && kill -9 $$")
    before = folders()
    report = measured({"a": converted[1], "b": converted[1]}, "program", program=dying, profile=False)
    first, second = report.results
    assert "ended by signal 9" in first.failure and first.latency.count == 5
    assert len(first.outputs[0]) == 1 and first.agreement("host").images == 1
    assert second.failure and second.latency is None
    assert len(report.failures) == 2
    assert folders() == before


# Loads the model as TensorFlow Lite's own program does, without LCE's operators.
PLAIN = """
import sys
from ai_edge_litert.interpreter import Interpreter
(graph,) = [word[8:] for word in sys.argv if word.startswith("--graph=")]
Interpreter(graph).allocate_tensors()
"""


@pytest.mark.parametrize("operator", ["LceQuantize", "LceDequantize"])
def test_a_program_without_the_operators_is_told_apart(measured, operator, converted, tmp_path):
    pytest.importorskip("ai_edge_litert")
    tflite, shape = converted[1], (8, 8, 1)
    if operator == "LceDequantize":
        shape = (8, 8, 32)
        layer = lq.layers.QuantConv2D(32, 3, kernel_quantizer="ste_sign", input_shape=shape)
        tflite = export.convert(tf.keras.Sequential([layer]), binary_weights="bits", verify_on=False).tflite
    (tmp_path / "plain.py").write_text(PLAIN)
    options = {"program": tmp_path / "plain.py", "prefix": [sys.executable]}
    (result,) = measured(tflite, "program", np.zeros((2, *shape), "float32"), **options).results
    assert f"plain TensorFlow Lite has no {operator}: take Larq Compute Engine's build" in result.failure
    assert ('binary_weights="int8"' in result.failure) == (operator == "LceDequantize")


def test_a_program_that_hangs_is_ended_at_the_limit(
    measured, converted, write_program, tmp_path, monkeypatch, folders
):
    pids = tmp_path / "pids"
    # Its child is in a session of its own, as all of a program is over ssh.
    hanging = write_program(
        before=f'case "$*" in *graph*) setsid sleep 1000 & echo $$ $! >{shlex.quote(str(pids))}; wait;; esac'
    )
    monkeypatch.setattr(device.remote, "_GRACE_SECONDS", 0.0)
    before = folders()
    (result,) = measured(converted[1], "program", program=hanging, timeout=1.0).results
    assert "did not finish within" in result.failure
    for pid in pids.read_text().split():
        status = Path(f"/proc/{pid}/status")
        # Ended, though perhaps nobody has asked for its exit status yet.
        assert not status.exists() or "State:\tZ" in status.read_text()
    assert folders() == before


def test_report_round_trips_and_prints(measured, converted, images, write_program, tmp_path):
    model, tflite = converted
    labels = np.argmax(model(images).numpy(), axis=1)
    options = {"keras_model": model, "labels": labels, "program": write_program()}
    report = measured({"small": tflite}, ["local", "program"], **options)
    again = device.Report.from_json(report.to_json())
    assert again.to_json() == report.to_json()
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert [row["device"] for row in rows] == ["local", "program"]
    assert float(rows[1]["median_ms"]) == report.results[1].latency.median_ms
    assert float(rows[0]["accuracy"]) == 1.0
    from rich.console import Console

    console = Console(file=io.StringIO(), width=100)
    table.print_results(report.results, console)
    printed = console.file.getvalue()
    assert "LceBconv2d" in printed and "same" in printed and "program is a script" in printed
    report.save(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "report.csv"}
    assert len((report + again).results) == 4


@pytest.mark.parametrize(
    ("same", "shown"), [(1.0, "100% 3e+00"), (0.9951, "99.51% 3e+00"), (0.99999, "99.99% 3e+00")]
)
def test_an_agreement_is_full_only_where_it_is(same, shown):
    assert table._agreement(device.Agreement("keras", 100_000, same, 3.2, False)) == shown
    assert f"same class on {shown.split()[0]}, largest" in describe(Verification(100_000, 3.2, same))


def test_chart_shows_every_result(measured, converted, tmp_path):
    pytest.importorskip("matplotlib")
    report = measured(converted[1], "local", threads=(1, 2))
    report.plot(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    ((unknown,), (known,)) = (
        chart._figure([dataclasses.replace(report.results[0], accuracy=each)]).axes for each in (None, 0.5)
    )
    assert not unknown.get_yticks().size and unknown.get_legend_handles_labels()[1][-1] == "accuracy unknown"
    assert known.get_yticks().size and known.get_legend_handles_labels()[1] == ["local"]
    with pytest.raises(InputError, match="at least one measured latency"):
        device.Report().plot(tmp_path / "none.png")


_OF_ANOTHER_KIND = (
    "models", "target", "inputs", "keras_model", "progress", "program", "prefix", "flags", "device_folder",
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": "phone"}, "ssh:USER@HOST"),
        ({"target": "ssh"}, "ssh:USER@HOST"),
        *(({"target": f"ssh:{host}"}, "USER@HOST") for host in ("host name", "host\nname", "host;reboot")),
        *(
            ({"target": f"ssh:{host}"}, "no leading '-'")
            for host in ("-oProxyCommand=x", "-la@host", "a@-host")
        ),
        ({"target": "adb:-a"}, "no leading '-'"),
        ({"target": "adb:a b"}, "serial number"),
        ({"target": "adb:"}, "adb"),
        *(({"target": "ssh:a", "device_folder": path}, "absolute path") for path in ("-rf", "/tmp/a\nb")),
        ({"target": "adb", "program": None}, "lce_benchmark_model"),
        ({"target": "ssh:host", "program": None, "flags": ["--use_xnnpack=false"]}, "flags must be left out"),
        ({"runtime": "tflite"}, '"lce" or "litert"'),
        ({"program": "/no/such/program"}, "lce_benchmark_model"),
        ({"target": "ssh:host", "program": "env program"}, "program"),
        *(({"threads": threads}, "from 1 to 1024") for threads in ((0,), (1, 1_000_000), ())),
        ({"threads": (1.5,)}, "whole numbers"),
        ({"threads": 2}, "one or more whole numbers"),
        *(({name: 10**13}, f"{name} must be") for name in ("repeats", "warmup")),
        ({"threads": (10**20,)}, "threads must be"),
        *(({"timeout": seconds}, "timeout must be") for seconds in (float("nan"), -1)),
        ({"inputs": np.full((6, 8, 8, 1), np.nan, np.float32)}, "inputs"),
        *(({"labels": [0] * 5 + [label]}, "labels must be") for label in (10, -1, np.nan, "a")),
        ({"labels": np.zeros(6, [("a", "f4")])}, "labels must be"),
        *(({"prefix": prefix, "program": "'"}, "No closing quotation") for prefix in ("", "a '")),
        *(({name: 0}, "from 1") for name in ("repeats", "images")),
        ({"inputs": np.zeros((3, 8, 8, 2), np.float32)}, r"\(images, 8, 8, 1\)"),
        ({"inputs": np.zeros((0, 8, 8, 1), np.float32)}, "non-zero length"),
        ({"inputs": {"other": np.zeros((3, 8, 8, 1), np.float32)}}, "mapping from image"),
        ({"inputs": np.array(["a"])}, "numbers"),
        ({"inputs": None}, "inputs"),
        ({"labels": [1]}, "one label"),
        ({"models": b"not a model"}, "identifier is missing"),
        ({"models": []}, "at least one .tflite"),
        ({"keras_model": {"nobody": None}}, "keyed by the models"),
        *(({name: 3}, f"^{name} must be .* but got ") for name in _OF_ANOTHER_KIND),
        ({"flags": [1]}, "flags must be"),
        ({"models": [3]}, "models must be .* but got 3"),
    ],
)
def test_bad_input_is_named(measured, converted, write_program, change, words):
    arguments = {"models": converted[1], "target": "program", "program": write_program(), **change}
    with pytest.raises(InputError, match=words):
        measured(**arguments)


def test_a_missing_lce_is_said_before_a_device_is_measured(measured, converted, write_program, monkeypatch):
    monkeypatch.setitem(sys.modules, "larq_compute_engine", None)
    lines = []
    with pytest.raises(ImportError, match=r"larq-equalbits\[deploy\]"):
        measured(converted[1], ["program", "local"], progress=lines.append, program=write_program())
    assert lines == []


def test_a_file_that_lce_cannot_run_is_bad_input(measured):
    # An operator of TensorFlow's own stays in the file, and LCE does not know it.
    function = tf.function(lambda x: tf.raw_ops.Betainc(a=x, b=x, x=x))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(tf.TensorSpec((1, 8, 8, 1)))]
    )
    converter.allow_custom_ops = True
    with pytest.raises(InputError, match="LCE can run"):
        measured(converter.convert(), "local")


def test_a_file_of_several_images_is_refused():
    layers = [tf.keras.layers.Input((8,), 4), tf.keras.layers.Dense(2)]
    file = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Sequential(layers)).convert()
    with pytest.raises(InputError, match=r"one image at a time, .* the shape \(4, 8\)"):
        models.load(file)


def test_quantized_tensors_are_encoded_and_decoded(converted):
    tensor = models.load(converted[1])[0].inputs[0]
    tensor = dataclasses.replace(tensor, shape=(1, 4), dtype="int8", scale=0.5, zero_point=-1)
    stored = tensor.encode(np.array([[-1.0, 0.0, 0.26, 1e6]], np.float32))
    assert stored.dtype == np.int8 and stored.tolist() == [[-3, -1, 0, 127]]
    assert tensor.decode(stored).tolist() == [[-1.0, 0.0, 0.5, 64.0]]
    assert np.array_equal(tensor.encode(stored), stored) and models.value_bytes(tensor) == 4


def elf(machine, loader=b""):
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    entry = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(loader) + 1, len(loader) + 1, 1)
    return b"\x7fELF\x02\x01\x01" + bytes(9) + header + entry + loader + b"\0"


@pytest.mark.parametrize(
    ("known", "program", "words"),
    [
        ({"machine": "armv7l", "bits": "32"}, elf(183), "32-bit system"),
        ({"machine": "aarch64", "bits": "32"}, elf(183), "64-bit operating system"),
        ({"machine": "aarch64", "bits": "64"}, elf(62), "program is for x86-64.*lce_benchmark_model_aarch64"),
        ({"machine": "x86_64", "bits": "64"}, elf(183), "x86_64, but the program is for aarch64"),
        ({"machine": "aarch64"}, elf(183, b"/system/bin/linker64"), "program is for Android"),
        ({"machine": "aarch64", "free_kib": "100"}, elf(183), "only 0.1 MiB are free"),
    ],
)
def test_checks_say_what_is_wrong(tmp_path, known, program, words):
    path = tmp_path / "program"
    path.write_bytes(program)
    with pytest.raises(device.DeviceError, match=words):
        checks.check(shells.Shell("program"), known, path, (1,), 2**20)


def test_checks_accept_a_pi_and_remark_on_the_rest(tmp_path):
    path = tmp_path / "program"
    path.write_bytes(elf(183, b"/lib/ld-linux-aarch64.so.1"))
    pi = {"machine": "aarch64", "bits": "64", "cores": "4", "free_kib": "100000", "governor": "performance"}
    assert checks.check(shells.Shell("pi"), pi, path, (4,), 2**20) == []
    notes = checks.check(shells.Shell("pi"), {**pi, "governor": "ondemand"}, path, (8,), 2**20)
    assert "8 threads share 4 cores" in notes[0] and "ondemand" in notes[1]
    with open(sys.executable, "rb") as file:
        assert checks.inspect(file.read()).machine in ("x86-64", "aarch64")


def test_times_of_every_version_are_read():
    newer = (
        "INFO: count=3 first=9 curr=2 min=2 max=9 avg=4 std=1\n\n"
        "INFO: count=50 first=1100 curr=1010 min=990 max=2100 avg=1.05e+03 std=31 p5=995 "
        "median=1020 p95=1900\n"
        "INFO: Inference timings in us: Init: 1234, First inference: 1100, Warmup (avg): 4, "
        "Inference (avg): 1050\n"
        "INFO: Memory footprint delta from the start of the tool (MB): init=0.5 overall=2.5\n"
        "Timings (microseconds): count=50 first=7 curr=7 min=7 max=7 avg=7 std=7\n"
    )
    latency = benchmark_model.latency(newer)
    assert (latency.median_ms, latency.mean_ms, latency.min_ms, latency.max_ms) == (1.02, 1.05, 0.99, 2.1)
    assert latency.count == 50 and latency.statistic == "median"
    assert benchmark_model.footprint(newer) == benchmark_model.Footprint(1.234, 2560, None)
    same = benchmark_model.latency("count=50 curr=7 (all same)\n")
    assert (same.median_ms, same.min_ms, same.count, same.statistic) == (0.007, 0.007, 50, "median")
    older = "Average inference timings in us: Warmup: 83235, Init: 38467, Inference: 79760.9\n"
    assert benchmark_model.latency(older).mean_ms == pytest.approx(79.7609)
    assert benchmark_model.footprint(older).init_ms == pytest.approx(38.467)
    assert benchmark_model.latency("STARTING!\n") is None


def test_a_profile_leaves_out_the_start_up_and_the_other_orders():
    text = (
        "Profiling Info for Benchmark Initialization:\n===== Run Order =====\n"
        "node type, first, avg_ms, %, cdf%, mem KB, times called, name\n"
        "AllocateTensors, 0.1, 0.1, 100%, 100%, 0, 1, AllocateTensors/0\n\n"
        "Operator-wise Profiling Info for Regular Benchmark Runs:\n===== Run Order =====\n"
        "node type, first, avg_ms, %, cdf%, mem KB, times called, name\n"
        "LceBconv2d, 0.2, 0.25, 75%, 75%, 0, 1, [a, b;c]:0\nSOFTMAX, 0.1, 0.05, 25%, 100%, 0, 1, [out]:1\n\n"
        "===== Top by Computation Time =====\n"
    )
    found = benchmark_model.operators(text)
    first, second = ((each.type, each.name, each.ms, each.percent) for each in found)
    assert first == ("LceBconv2d", "a, b;c", 0.25, 75.0) and second == ("SOFTMAX", "out", 0.05, 25.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "Expecting value"), ("[]", ""), ("{}", "'results' is missing"), ('{"results": [{}]}', "'latency'")],
)
def test_what_is_no_report_is_named(text, words):
    with pytest.raises(InputError, match=f"text must be the JSON of a device report, but is not: .*{words}"):
        device.Report.from_json(text)


@pytest.mark.parametrize(
    ("part", "changed"),
    [("latency", "min_ms"), ("operators", "ms"), ("agreements", "argmax"), ("result", "accuracy_images")],
)
def test_a_figure_of_a_device_is_a_number(part, changed):
    latency = device.Latency(1, 1, 0, 1, 2, 3, rounds_ms=(1, 2))
    result = device.Result("net", "local", 1, 10, latency, accuracy=0.5)
    result.operators = [device.Operator("CONV_2D", "a", 1.0, 100.0)]
    result.agreements = [device.Agreement("keras", 1, 1.0, 0.0, True)]
    content = json.loads(device.Report([result]).to_json())
    assert device.Report.from_json(json.dumps(content)).to_json()
    entry = content["results"][0]
    inner = entry if part == "result" else entry[part]
    (inner[0] if isinstance(inner, list) else inner)[changed] = None
    with pytest.raises(InputError, match=changed):
        device.Report.from_json(json.dumps(content))


def test_a_report_and_a_run_name_what_is_of_another_kind(converted, images):
    with pytest.raises(InputError, match=r"settings must be a device\.Settings, but got 3"):
        device.run(converted[1], "local", images, 3)
    with pytest.raises(InputError, match="folder must be the path of a folder, but got 3"):
        device.Report().save(3)
    with pytest.raises(InputError, match=r"must be a device\.Report, but got 3"):
        device.Report() + 3
