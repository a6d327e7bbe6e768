import json
import sys

import pytest

from larq_equalbits import cli


def test_the_help_needs_no_tensorflow(run_python):
    code = (
        "import sys\nsys.argv = ['larq-equalbits', '--help']\n"
        "from larq_equalbits.cli import main\n"
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
        "from larq_equalbits.cli import main\n"
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
        ["Keras", "quantizer", "deployment"], True
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
