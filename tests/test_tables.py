"""Tables on a terminal of 80 columns."""

import io

import pytest
from rich.console import Console

from larq_equalbits.device import table as device_table
from larq_equalbits.device.measured import Agreement, Latency, Result
from larq_equalbits.export import results as export_table
from larq_equalbits.export.results import LayerReport


def layers():
    reason = "its input is not binary: no quantizer gives it two values"
    return export_table.table(
        [
            LayerReport(
                "conv2_1/shortcut", "LceBconv2d", True, 1_232_896, "1 bit", rewrite="normalization folded"
            ),
            LayerReport("normalization12", "DEPTHWISE_CONV_2D", False, 131_072, "float32", reason=reason),
            LayerReport("classifier", "FULLY_CONNECTED", False, 40_960, "2 bits", reason, "unfused", True),
        ]
    )


def devices():
    agreements = [Agreement("keras", 10_000, 0.9987, 1.3e-05, False), Agreement("host", 8, 1.0, 0.0, True)]
    latency = Latency(113.318, 113.4, 0.277, 112.9, 119.2, 20)
    given = {"latency": latency, "memory_kib": 12_345, "agreements": agreements, "accuracy": 0.8123}
    return device_table.results(
        [
            Result("resnet18.tflite", device, 4, 1_345_678, accuracy_images=10_000, **given)
            for device in ("local", "ssh:pi@raspberrypi.local")
        ]
    )


@pytest.mark.parametrize("make", [layers, devices])
def test_no_word_is_cut_in_80_columns(make):
    def words(width):
        console = Console(file=io.StringIO(), width=width, color_system=None)
        console.print(make())
        text = console.file.getvalue()
        assert "…" not in text and max(map(len, text.splitlines())) <= width
        return sorted(word for word in text.split() if "─" not in word)

    assert words(80) == words(300)
