import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_wheel_holds_the_zoo_inside_the_package(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "larq_equalbits/zoo/conv.py" in names
    assert "larq_equalbits/py.typed" in names
    folders = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert folders == {"larq_equalbits"}


def test_the_constraints_pin_by_name_and_version_alone():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, separator, version = line.partition("==")
        assert name and separator and version and "://" not in line, line
