import os
import time

import forking
import pytest

from larq_equalbits import _errors, _files
from larq_equalbits._errors import InputError


@pytest.mark.parametrize("name", ["a.json", "x" * 250 + ".json", "青" * 83 + ".json"])
def test_a_file_of_any_name_that_the_disk_allows_appears_whole(tmp_path, name):
    _files.write_text(tmp_path / "new" / name, "{}")
    assert (tmp_path / "new" / name).read_text() == "{}"
    assert os.listdir(tmp_path / "new") == [name]


def test_a_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), _files.replacing(target) as temporary:
        temporary.write_text("ha")
        raise RuntimeError("half way")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_missing_extra_is_named():
    with pytest.raises(ImportError, match=r"larq-equalbits\[plots\]"):
        _errors.require("plots", "a_package_that_does_not_exist")


def test_where_the_converter_has_no_wheel_the_pythons_that_convert_are_named(monkeypatch):
    monkeypatch.setattr("sys.version_info", (3, 13, 0, "final", 0))
    with pytest.raises(ImportError, match=r"has no wheel for Python 3\.13 .* 3\.10, 3\.11 or 3\.12"):
        _errors.require("deploy", "a_package_that_does_not_exist")


HOLD = """
import time
from pathlib import Path
from larq_equalbits import _files
with _files.locked(Path(), "trains"):
    Path("held").touch()
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_one_is_dead(tmp_path):
    (tmp_path / "hold.py").write_text(HOLD)
    log = tmp_path / "log"
    process = forking.start(tmp_path / "hold.py", outputs=(log, log), folder=tmp_path)
    try:
        while not (tmp_path / "held").exists():
            assert process.is_alive(), log.read_text()
            time.sleep(0.02)
        with pytest.raises(InputError, match="another process"), _files.locked(tmp_path, "trains"):
            pass
    finally:
        process.kill()
        process.join()
    with _files.locked(tmp_path, "trains"):
        pass


def test_the_next_write_removes_what_a_killed_one_left(run_script, tmp_path):
    code = (
        "import os, sys; from larq_equalbits import _files\n"
        "with _files.replacing(sys.argv[1]) as path:\n    path.write_text('half'); os._exit(1)"
    )
    # A name that would be a pattern.
    target = tmp_path / "[a]*.txt"
    run_script(code, target, status=1)
    assert len(list(tmp_path.iterdir())) == 1
    _files.write_text(target, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_json_that_is_nested_deeply_is_refused(tmp_path):
    path = tmp_path / "a.json"
    for depth, fits in ((90, True), (500, False), (100_000, False)):
        path.write_text('{"a":' + "[" * depth + "]" * depth + "}")
        if fits:
            _files.read_json(path)
        else:
            with pytest.raises(InputError, match="must be JSON"):
                _files.read_json(path)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (5, "a str or a pathlib.Path, but got 5"),
        (b"model.tflite", "a str or a pathlib.Path"),
        ("file/model.tflite", "where a file can be written, .*Not a directory"),
        ("file/new/model.tflite", "Not a directory"),
        ("a\0b", "null"),
        ("x" * 252 + ".t", "name too long"),
        pytest.param(
            "/proc/model.tflite",
            "is not: ",
            marks=pytest.mark.skipif(not os.path.isdir("/proc"), reason="no /proc"),
        ),
    ],
)
def test_where_no_file_can_be_written_is_known_before_the_work(tmp_path, monkeypatch, path, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"path must be .*{words}"):
        _files.check_tflite_target(path)


def test_a_check_of_where_a_file_will_be_leaves_nothing_there(tmp_path):
    _files.check_tflite_target(tmp_path / "new" / "model.tflite")
    assert not list(tmp_path.iterdir())
