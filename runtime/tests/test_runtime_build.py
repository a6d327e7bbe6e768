"""The package as pip builds it: a wheel for any Python 3, and one line where there is no compiler."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1]
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="needs a compiler: apt-get install g++"
)


def copy(folder):
    ignored = shutil.ignore_patterns("build", "dist", "*.so", "*.egg-info", "__pycache__")
    return shutil.copytree(SOURCE, folder / "runtime", ignore=ignored)


def build(folder, **environment):
    """Builds a wheel with this environment's setuptools."""
    line = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder / "out",
    ]
    return subprocess.run(
        [*line, folder / "runtime"], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PATH": "/no/such/folder"}, "found no g++ and no clang: install one (sudo apt install g++)"),
        ({"CXX": "no-such-compiler -O2"}, "there is no 'no-such-compiler'"),
    ],
)
def test_without_a_compiler_one_line_says_what_to_install(tmp_path, environment, words):
    copy(tmp_path)
    done = build(tmp_path, **environment)
    assert done.returncode
    lines = [line for line in (done.stdout + done.stderr).splitlines() if words in line]
    assert len(lines) == 1, done.stdout + done.stderr


def test_a_32_bit_system_is_told(tmp_path):
    code = (
        "import runpy, struct, sys; real = struct.calcsize; "
        "struct.calcsize = lambda format: 4 if format == 'P' else real(format); "
        "sys.argv = ['setup.py', 'build_ext']; runpy.run_path('setup.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=copy(tmp_path), capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs a 64-bit Linux on x86-64 or ARM, but this is Linux with 32-bit programs." in done.stderr


def test_the_library_is_under_400_kb():
    from larq_equalbits_runtime import library_path

    assert 0 < Path(library_path()).stat().st_size < 400_000


@needs_compiler
@pytest.mark.slow
def test_the_wheel_fits_any_python(tmp_path):
    copy(tmp_path)
    done = build(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    assert wheel.name.startswith("larq_equalbits_runtime-") and "-py3-none-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as content:
        sizes = {entry.filename: entry.file_size for entry in content.infolist()}
    assert 0 < sizes["larq_equalbits_runtime/liblarq_equalbits_runtime.so"] < 400_000
    assert {name.split("/")[0].split("-")[0] for name in sizes} == {"larq_equalbits_runtime"}
