import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("larq_equalbits", "zoo", "larq_equalbits_program.py")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a wheel and a source package of a copy without symbolic links, as a checkout on Windows is."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "tests").mkdir()
    shutil.copy(__file__, folder / "tests")
    for name in (*SOURCES, "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        source = ROOT / name
        assert not source.is_symlink()
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    build = "from setuptools import build_meta as build; build.build_wheel('dist'); build.build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    return folder / "dist"


@pytest.fixture
def wheel(built):
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_source_package_holds_the_modules_and_no_part_of_the_tests(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        folders = {name.split("/")[1] for name in archive.getnames() if name.endswith(".py")}
    assert folders == {"larq_equalbits", "zoo", "larq_equalbits_program.py"}


def test_the_wheel_holds_every_module_and_the_zoo_inside_the_package_alone(wheel):
    names = wheel.namelist()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "larq_equalbits").rglob("*.py")}
    modules |= {f"larq_equalbits/{path.relative_to(ROOT)}" for path in (ROOT / "zoo").rglob("*.py")}
    assert modules | {"larq_equalbits_program.py"} == {name for name in names if name.endswith(".py")}
    assert "larq_equalbits/py.typed" in names
    folders = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert folders == {"larq_equalbits", "larq_equalbits_program.py"}


def test_the_constraints_pin_by_name_and_version_alone():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, separator, version = line.partition("==")
        assert name and separator and version and "://" not in line, line


USER = """
import larq_equalbits as lqe
from larq_equalbits import export

model = lqe.zoo.conv2(input_shape=(8, 8, 1), num_classes=10, quantizer="siman")
twin = lqe.binarize(lqe.zoo.get("vgg16")(input_shape=(32, 32, 3), num_classes=10, quantizer=None))
size: int = len(export.convert(twin, "twin.tflite", tolerance=0.1).tflite)
lqe.zoo.conv4(input_shape=(8, 8), num_classes=10)
lqe.zoo.resnet18(input_shape=(32, 32, 3), num_classes=10, quantiser="siman")
lqe.binarize(model, quantiser="siman")
export.convert(model, tolerance="0.1")
"""


def test_a_users_type_checker_knows_the_arguments(wheel, tmp_path):
    wheel.extractall(tmp_path)
    (tmp_path / "user.py").write_text(USER)
    options = ["--strict", "--follow-imports=silent", "--ignore-missing-imports", "--config-file="]
    command = [sys.executable, "-m", "mypy", *options, "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.split(":")[1] for line in lines] == ["8", "9", "10", "11"], done.stdout
    assert [line.split("[")[-1] for line in lines] == ["arg-type]", "call-arg]", "call-arg]", "arg-type]"]
