import csv
import json
import re

import demo
import pytest
from click.testing import CliRunner

from larq_equalbits._errors import InputError


def test_the_demo_trains_ships_and_reports(tmp_path):
    out = tmp_path / "demo"
    result = CliRunner().invoke(demo.main, ["--out", str(out), "--epochs", "1"], catch_exceptions=False)
    assert result.exit_code == 0

    report = json.loads((out / "report.json").read_text())
    assert report["model"] == "conv2"
    assert report["dataset"] == "digits"
    assert report["quantizer"] == "bi_half"
    assert report["argmax_agreement"] == 1.0
    assert report["max_abs_diff"] < 1e-3
    assert report["keras_accuracy"] == report["tflite_accuracy"] > 0.3
    assert report["tflite_bytes"] == (out / "model.tflite").stat().st_size
    assert report["float_bytes"] > 15 * report["tflite_bytes"]
    binary = {layer["name"]: layer for layer in report["layers"] if layer["binary"]}
    assert set(binary) == set(report["bits"]) == {"conv1_2", "dense1", "dense2"}
    assert all(layer["operator"] == "LceBconv2d" for layer in binary.values())
    assert all(layer["reason"] for layer in report["layers"] if not layer["binary"])
    assert all(
        bits["bit_entropy"] == 1.0 and bits["positive_ratio"] == 0.5 for bits in report["bits"].values()
    )

    with (out / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1
    for name in ("bits.png", "entropy.png", "shares.png", "comparison.html"):
        assert (out / name).stat().st_size > 10_000
    assert (out / "model.keras").exists()

    assert list(report["networks"]) == ["bi_half", "ste_sign", "float", "int8"]
    assert (
        report["float_bytes"]
        == report["networks"]["float"]["tflite_bytes"]
        == (out / "float" / "model.tflite").stat().st_size
        > 3 * (out / "int8" / "model.tflite").stat().st_size
    )
    for name, network in report["networks"].items():
        folder = out if name == "bi_half" else out / name
        assert network["tflite_bytes"] == (folder / "model.tflite").stat().st_size
        rounding = 0.03 if name == "int8" else 1e-6
        assert network["test_accuracy"] == pytest.approx(network["tflite_accuracy"], abs=rounding)
        assert network["runtime_accuracy"] == pytest.approx(network["tflite_accuracy"], abs=rounding)
        assert network["ms"] > 0
        assert name in result.stdout
    entropies = [report["networks"][name]["filter_entropy"] for name in ("bi_half", "ste_sign")]
    assert entropies[0] == 1 > entropies[1]
    assert report["int8_bytes"] < report["tflite_bytes"]
    assert report["verdict"]["sentence"] in result.stdout
    assert report["float_verdict"]["sentence"] in result.stdout
    page = (out / "comparison.html").read_text()
    accuracies = re.search(r"<td>test accuracy</td>(.*?)</tr>", page)[1]
    assert len(re.findall(r">0\.\d{4}<", accuracies)) == 4
    assert all(f"{network['tflite_bytes']:,}" in page for network in report["networks"].values())
    assert result.stdout.count("epoch ") == 2


def test_level_networks_are_called_level():
    def verdict(first, second):
        return demo._verdict({"a": {"test_accuracy": first}, "b": {"test_accuracy": second}}, "a", "b", 355)

    assert "a and b are level" in verdict(0.97, 0.96)["sentence"]
    assert "a is ahead of b" in verdict(0.97, 0.60)["sentence"]
    assert "b is ahead of a" in verdict(0.60, 0.97)["sentence"]
    assert verdict(1.0, 1.0)["level"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "conv3"], "conv3"),
        (["--dataset", "letters"], "letters"),
        (["--quantizer", "bi_quarter"], "bi_quarter"),
        (["--dataset", "cifar10", "--data-dir", "nowhere"], "cifar10"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(tmp_path, arguments, message):
    result = CliRunner().invoke(demo.main, ["--out", str(tmp_path / "demo"), *arguments])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not list(tmp_path.iterdir())
