import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from larq_equalbits import cli


def test_the_help_of_every_command_teaches_and_needs_no_tensorflow(run_python):
    code = (
        "import sys\nfrom larq_equalbits_program import main\n"
        f"for name in [*{[*cli.COMMANDS]}, '']:\n"
        "    sys.argv = ['larq-equalbits', *name.split(), '--help']\n"
        "    try:\n        main()\n    except SystemExit as done:\n        assert not done.code\n"
        "    assert 'tensorflow' not in sys.modules"
    )
    done = run_python("-c", code)
    assert max(map(len, done.stdout.splitlines())) <= 80
    pages = done.stdout.split("Usage: larq-equalbits ")[1:]
    assert [page.split()[0] for page in pages] == [*cli.COMMANDS, "[OPTIONS]"]
    for name in cli.COMMANDS:
        assert name in pages[-1]
    texts = dict(zip(cli.COMMANDS, pages, strict=False))
    for option in ("--ratios", "--workers", "--epochs", "--recipe", "--overwrite", "KERASTUNER_ORACLE_IP"):
        assert option in texts["sweep"]
    assert "Examples:" in texts["device"] and "ssh:pi@raspberrypi.local" in texts["device"]


def test_a_shell_completes_commands_options_and_names(command):
    for words, expected in (
        ("tr", "plain,train"),
        ("train --mod", "plain,--model\nplain,--model-option"),
        ("train --model res", "plain,resnet18\nplain,resnet20\nplain,resnet34"),
    ):
        environment = {
            "COMP_WORDS": f"larq-equalbits {words}",
            "COMP_CWORD": str(len(words.split())),
            "_LARQ_EQUALBITS_COMPLETE": "bash_complete",
        }
        assert command(environment=environment).stdout.strip() == expected


def test_the_doctor_finds_everything_in_order(command):
    done = command("doctor", "--json")
    findings = json.loads(done.stdout)
    assert findings["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert {name: check["works"] for name, check in findings["checks"].items()} == dict.fromkeys(
        ["Keras", "quantizer", "deployment", "sweeps"], True
    )
    assert findings["install"] is None
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parent.parent / "setup.cfg")
    for extra in ("deploy", "tuning", "data", "plots"):
        required = re.findall(r"^[\w-]+", setup["options.extras_require"][extra], re.M)
        assert required and set(required) <= set(findings["packages"])


def test_the_program_answers_bad_input_with_status_2_and_no_traceback():
    program = Path(sys.executable).parent / "larq-equalbits"
    done = subprocess.run([program, "train", "--model", "conv3"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("larq-equalbits: model must be one of") and done.stderr.count("\n") == 1


def lose_the_device():
    raise ConnectionResetError("the device went away")


@pytest.mark.parametrize(
    ("work", "status", "words"),
    [
        (lambda: Path("/dev/full").write_text("too much"), 1, "No space left on device"),
        (lose_the_device, 1, "the device went away"),
        (Path("/no/such/file").read_text, 2, "/no/such/file: No such file or directory"),
        (
            Path("/dev/null/run").mkdir,
            2,
            "/dev/null/run: Not a directory: all before the last name must be folders",
        ),
    ],
)
def test_a_full_disk_is_no_bad_input(command, work, status, words):
    done = command(program=click.Command("work", callback=work), status=status)
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_lack_of_memory_is_work_that_failed(command, monkeypatch, tmp_path):
    def audit(file):
        raise MemoryError

    monkeypatch.setattr("larq_equalbits.export.audit", audit)
    said = command("inspect", tmp_path, status=1).stderr
    assert said == "larq-equalbits: the memory does not suffice: no more can be had\n"
