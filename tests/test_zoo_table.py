import importlib.util
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from larq_equalbits import zoo
from larq_equalbits._errors import InputError

ROOT = Path(__file__).resolve().parents[1]
FAST = ("conv2", "vgg_small", "resnet20")


@pytest.fixture(scope="module")
def program():
    specification = importlib.util.spec_from_file_location("zoo_table", ROOT / "scripts" / "zoo_table.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def lines(program):
    page = program.PAGE.read_text(encoding="utf-8")
    table = page.split(program.START)[1].split(program.END)[0]
    return table.strip().splitlines()[2:]


def test_the_documentation_has_every_network(program):
    documented = [tuple(line.split(" | ")[:2]) for line in lines(program)]
    small = [(f"| {name}", "32x32x3") for name in zoo.list_models()]
    assert documented == [*small, *((f"| {name}", "224x224x3") for name in program.ON_IMAGENET)]


@pytest.mark.parametrize("name", FAST)
def test_the_documentation_says_what_the_command_measures(program, name):
    assert str(program.measure(name, *program.SMALL)) in lines(program)


@pytest.mark.slow
def test_the_whole_table_is_what_the_command_measures(program):
    assert [str(row) for row in program.rows()] == lines(program)


def test_the_command_prints_or_writes(program, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{program.START}\nold\n{program.END}\nafter\n")
    printed = CliRunner().invoke(program.main, ["conv2"], catch_exceptions=False)
    assert printed.output.startswith("| network | images |")
    CliRunner().invoke(program.main, ["conv2", "--write", "--page", str(page)], catch_exceptions=False)
    assert page.read_text() == f"before\n{program.START}\n{printed.output}{program.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(InputError, match="page must hold the markers"):
        CliRunner().invoke(program.main, ["conv2", "--write", "--page", str(page)], catch_exceptions=False)
    with pytest.raises(InputError, match="model must be one of"):
        program.rows(("conv3",))
