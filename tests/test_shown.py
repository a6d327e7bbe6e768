"""What a stranger's file, folder or command line says is shown, and no terminal, table or program obeys it.

Tables fit a terminal of 80 columns.
"""

import io
import os
import sys
import warnings

import forking
import pytest
from PIL import Image
from rich.console import Console
from small import small

from larq_equalbits import data, device, export
from larq_equalbits._errors import InputError
from larq_equalbits._text import csv_cell, render, visible
from larq_equalbits.binarization import BinarizationReport, LayerChange
from larq_equalbits.cli import doctor, main
from larq_equalbits.device import Agreement, Latency, Result, table
from larq_equalbits.export import LayerReport, results
from larq_equalbits.tuning import presentation, progress, trials


@pytest.mark.parametrize("name", ["[/x]", "[link=https://example.org]here[/link]", "\x1b[31mred", "a\u202eb"])
def test_names_in_files_are_shown_and_not_obeyed(name):
    layer = export.LayerReport(name, "CONV_2D", False, 1, "float32", name, "", False)
    content = export.convert(small(), verify_on=False).tflite
    text = str(export.ConversionReport(content, [layer], None))
    assert "\x1b" not in text and "\u202e" not in text
    assert visible(name)[:4] in text


def test_a_metric_of_a_sweep_is_shown_and_not_obeyed(tmp_path, capsys):
    name = "[/x]\x1b[31m"
    trial = trials.Trial("0", tmp_path, "COMPLETED", {"positive_ratio": 0.5}, {name: 0.5}, 0.5, 1.0, None)
    text = render(presentation.table([trial], [name]))
    progress.Progress(1, 0, 1, name).ended_one({name: name}, 0.5, None, 1.0)
    text += capsys.readouterr().err
    assert "\x1b" not in text and text.count(r"[/x]\x1b[31m") == 4


def test_what_is_waited_for_is_shown_and_not_obeyed(tmp_path):
    ours, theirs = os.openpty()
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time; from pathlib import Path; from larq_equalbits._quiet import waiting\n"
        "from larq_equalbits.data.folders import _images\n"
        "with waiting(sys.argv[1]): time.sleep(0.5)\n"
        "_images([Path(sys.argv[0])] * 9, 8, sys.argv[1])"
    )
    outputs = tmp_path / "output", os.ttyname(theirs)
    process = forking.start(script, "[/x]\x1b[44m", outputs=outputs, TERM="xterm", COLUMNS="80")
    assert forking.ended(process) == 0
    said = os.read(ours, 10**6)
    os.close(ours)
    os.close(theirs)
    assert b"\x1b[44m" not in said and rb"[/x]\x1b[44m" in said


def test_what_the_doctor_found_is_shown_and_not_obeyed(capsys):
    found = {"quantizer": {"works": False, "detail": "[/x]\x1b[31m"}}
    doctor._print(dict.fromkeys(doctor._PACKAGES), found, [])
    assert r"quantizer: fails, [/x]\x1b[31m" in capsys.readouterr().out


def test_classes_are_called_what_their_folders_are_and_shown_so(tmp_path):
    names = ["\x1b[31mred", "[bold]", "a\nb", "a\u202eb"]
    for shade, name in enumerate(names):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(2):
            Image.new("RGB", (8, 8), (shade, index, 0)).save(tmp_path / "photos" / name / f"{index}.png")
    assert sorted(data.from_folder(tmp_path / "photos", image_size=8, batch_size=2).labels) == sorted(names)
    for name in names:
        (tmp_path / "photos" / name / "1.png").write_bytes(b"")
        with pytest.raises(InputError) as refused:
            data.from_folder(tmp_path / "photos", image_size=8, batch_size=2)
        assert str(refused.value).isprintable()
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name / "1.png")


@pytest.mark.parametrize("arguments", [["train", "a\u202eb"], ["report", "a\u202eb"]])
def test_what_the_command_line_says_shows_what_was_given(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["larq-equalbits", *arguments])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err + warnings.formatwarning("a\u202eb", UserWarning, "", 0)
    assert end.value.code == 2 and "\u202e" not in said and said.count("a\\u202eb") == 2


def test_csv_cells_are_no_formulas():
    assert [csv_cell(value) for value in ("=1+1", "@x", "-1")] == ["'=1+1", "'@x", "'-1"]
    assert [csv_cell(value) for value in ("loss", 0.5)] == ["loss", 0.5]
    measured = device.Report([device.Result("=1+1", "local", 1, 10, failure="@x")])
    assert "local,'=1+1,1" in measured.to_csv() and measured.to_csv().endswith(",'@x\n")


def layer_table():
    reason = "its input is not binary: no quantizer gives it two values"
    rows = [
        LayerReport("conv2_1/shortcut", "LceBconv2d", True, 1_232_896, "1 bit", "", "normalization folded"),
        LayerReport("normalization12", "DEPTHWISE_CONV_2D", False, 131_072, "float32", reason=reason),
        LayerReport("classifier", "FULLY_CONNECTED", False, 40_960, "2 bits", reason, "unfused", True),
    ]
    return results.table(rows)


def device_table():
    agreements = [Agreement("keras", 10_000, 0.9987, 1.3e-05, False), Agreement("host", 8, 1.0, 0.0, True)]
    latency = Latency(113.318, 113.4, 0.277, 112.9, 119.2, 20)
    given = {"latency": latency, "memory_kib": 12_345, "agreements": agreements, "accuracy": 0.8123}
    given |= {"accuracy_images": 10_000}
    devices = ("local", "ssh:pi@raspberrypi.local")
    return table.results([Result("resnet18.tflite", each, 4, 1_345_678, **given) for each in devices])


def binarization_table():
    why = "input is never negative, by re_lu_12"
    rows = [
        LayerChange(
            "block_1_depthwise_bn", "DepthwiseConv2D", "DepthwiseConv2D", 1_232_896, False, False, why
        ),
        LayerChange(
            "stage_2/separable_3x", "SeparableConv2D", "QuantSeparableConv2D", 4_608, True, True, why
        ),
    ]
    return BinarizationReport(rows)


@pytest.mark.parametrize("make", [layer_table, device_table, binarization_table])
def test_no_word_is_cut_in_80_columns(make):
    def words(width):
        console = Console(file=io.StringIO(), width=width, color_system=None)
        console.print(make())
        text = console.file.getvalue()
        assert "…" not in text and max(map(len, text.splitlines())) <= width
        return sorted(word for word in text.split() if "─" not in word)

    assert words(80) == words(300)
