import json
import sys

import click
import pytest

from larq_equalbits import cli


def test_the_help_needs_no_tensorflow(run_python):
    code = (
        "import sys\nsys.argv = ['larq-equalbits', '--help']\n"
        "from larq_equalbits_program import main\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    for name in cli.COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_help_of_a_command_teaches_and_needs_no_tensorflow(run_python, name):
    code = (
        f"import sys\nsys.argv = ['larq-equalbits', {name!r}, '--help']\n"
        "from larq_equalbits_program import main\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "Usage: larq-equalbits" in done.stdout


def test_a_shell_completes_commands_and_options(command):
    for words, expected in (("tr", "plain,train"), ("train --mod", "plain,--model\nplain,--model-option")):
        environment = {
            "COMP_WORDS": f"larq-equalbits {words}",
            "COMP_CWORD": str(len(words.split())),
            "_LARQ_EQUALBITS_COMPLETE": "bash_complete",
        }
        assert command(environment=environment).stdout.strip() == expected


def test_the_doctor_finds_everything_in_order(command):
    done = command("doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads(done.stdout)
    assert findings["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert {name: check["works"] for name, check in findings["checks"].items()} == dict.fromkeys(
        ["Keras", "quantizer", "deployment", "sweeps"], True
    )
    assert findings["install"] is None


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["train", "--unknown"], ["report", "no/such/run"]],
)
def test_bad_input_is_answered_with_status_2_and_no_traceback(command, arguments):
    done = command(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def fill_the_disk():
    with open("/dev/full", "w") as file:
        file.write("too much")


def read_nothing():
    with open("/no/such/file"):
        pass


def lose_the_device():
    raise ConnectionResetError("the device went away")


@pytest.mark.parametrize(
    ("work", "status", "words"),
    [
        (fill_the_disk, 1, "No space left on device"),
        (lose_the_device, 1, "the device went away"),
        (read_nothing, 2, "No such file or directory: '/no/such/file'"),
    ],
)
def test_a_full_disk_is_no_bad_input(monkeypatch, capsys, work, status, words):
    monkeypatch.setattr(sys, "argv", ["larq-equalbits"])
    with pytest.raises(SystemExit) as ended:
        cli.run_command(click.Command("work", callback=work))
    assert ended.value.code == status
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
