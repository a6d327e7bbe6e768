import pytest
import zoo_table as program
from click.testing import CliRunner

from larq_equalbits import zoo
from larq_equalbits._errors import InputError

FAST = ("conv2", "vgg_small", "resnet20")


def lines():
    page = program.PAGE.read_text(encoding="utf-8")
    table = page.split(program.START)[1].split(program.END)[0]
    return table.strip().splitlines()[2:]


def test_the_documentation_has_every_network():
    documented = [tuple(line.split(" | ")[:2]) for line in lines()]
    small = [(f"| {name}", "32x32x3") for name in zoo.list_models()]
    assert documented == [*small, *((f"| {name}", "224x224x3") for name in program.ON_IMAGENET)]


@pytest.mark.parametrize("name", FAST)
def test_the_documentation_says_what_the_command_measures(name):
    assert str(program.measure(name, *program.SMALL)) in lines()


@pytest.mark.slow
def test_the_whole_table_is_what_the_command_measures():
    assert [str(row) for row in program.rows()] == lines()


def test_the_command_prints_or_writes(tmp_path):
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
