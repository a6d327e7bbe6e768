import json
import subprocess
import sys

import larq as lq
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from larq_equalbits import data, optimizers, zoo
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits.cli import names, program
from larq_equalbits.data import loading
from larq_equalbits.training import Run, Settings, distribution, recipes, settings

QUICK = ["--quantizer", "ste_sign", "--model-option", "width=0.05", "--epochs", "1", "--quiet"]


def run(*arguments):
    return CliRunner().invoke(program, ["train", *map(str, arguments)], catch_exceptions=False)


def test_it_trains_refuses_to_replace_and_resumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*QUICK, "--name", "first", "--json")
    assert done.exit_code == 0
    results = json.loads(done.stdout.splitlines()[-1])
    assert results["folder"] == "runs/first"
    assert 0 <= results["test_accuracy"] <= 1
    with pytest.raises(InputError, match="add --resume to go on with it, or --overwrite to replace it"):
        run(*QUICK, "--name", "first")
    with pytest.raises(InputError, match="epochs: 1 against 2"):
        run("--name", "first", "--resume", "--epochs", 2, "--quiet")
    again = run("--name", "first", "--resume", "--quiet", "--json")
    assert json.loads(again.stdout.splitlines()[-1]) == results
    converted = tmp_path / "runs" / "first" / "model.tflite"
    converted.write_bytes(b"no conversion of ours wrote this")
    run(*QUICK, "--name", "first", "--overwrite")
    assert converted.exists()


def test_every_part_of_a_recipe_is_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = ["--recipe", "siman", "--quantizer", "ir_net", "--constraint", "magnitude_clip"]
    chosen = [*parts, "--estimator", "1e-2,5", "--percentile", "10", "--score-sparsity", "none"]
    run(*chosen, *QUICK[2:], "--name", "parts")
    settings = Settings.load(tmp_path / "runs" / "parts" / "settings.json")
    assert (settings.constraint, settings.percentile) == ("magnitude_clip", 10)
    assert (settings.estimator, settings.score_sparsity) == ((1e-2, 5), "none")
    model = Run.load(tmp_path / "runs" / "parts").load_model()
    [quantizer] = {float(kernel.quantizer.t.numpy()) for kernel in quantized_kernels(model)}
    assert quantizer == pytest.approx(1e-2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "conv3"], "model must be one of"),
        (["--dataset", "mnist"], "dataset must be one of"),
        (["--quantizer", "bihalf"], "quantizer must be"),
        (["--recipe", "best"], "recipe must be one of"),
        (["--optimizer", "addam"], "optimizer must be one of sgd, adam, but got 'addam'. Did you mean adam?"),
        (["--strategy", "many"], "strategy must be one of"),
        (["--milestones", "a,b"], "--milestones must be numbers"),
        (["--quantizer-option", "0.3"], "--quantizer-option must be NAME=VALUE"),
        (["--estimator", "0.1"], "estimator must be two positive numbers"),
        (["--percentile", "1,2"], "--percentile must be a number or none"),
        (["--score-sparsity", "half"], "--score-sparsity must be numbers"),
        (["--name", "a/b"], "--name must be the plain name"),
        (["--resume", "--name", "none"], "there is no runs/none/settings.json"),
    ],
)
def test_bad_input_leaves_nothing(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        run(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_not_there_is_one_line_and_exit_status_2(command, tmp_path):
    arguments = ("--dataset", "cifar10", "--data-dir", tmp_path / "empty", "--out", tmp_path / "run")
    done = command("train", *arguments)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("larq-equalbits: data_dir must hold cifar10 prepared by tensorflow-datasets")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_names_are_those_of_the_package():
    assert set(names.MODELS) == set(zoo.list_models())
    assert names.RECIPES == recipes.NAMES
    assert names.DATASETS == data.NAMES
    for name in names.QUANTIZERS:
        assert callable(lq.quantizers.get_kernel_quantizer(name))
    with pytest.raises(InputError, match="Did you mean bi_half"):
        names.Name(names.QUANTIZERS).convert("bi_haf", None, None)
    assert (names.OPTIMIZERS, names.SCHEDULES) == (settings.OPTIMIZERS, settings.SCHEDULES)
    assert (names.DECAYS, names.PRECISIONS) == (optimizers.POLICIES, settings.POLICIES)
    assert (names.AUGMENTATIONS, names.STRATEGIES) == (loading.AUGMENTATIONS, distribution.NAMES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --model resnet-18", "but got 'resnet-18'. Did you mean resnet18?"),
        ("train --epochs 0", "Invalid value for '--epochs': 0 is not in the range 1<=x<=1000000."),
        ("convert none", "SOURCE must be a run folder or a saved Keras model, but there is no none."),
        (
            "verify .",
            "--tflite must be a .tflite file, but there is none at model.tflite: convert SOURCE first.",
        ),
        ("inspect none", "FILE must be a .tflite file, but there is no none."),
        ("report none", "RUN must be a run folder or that of a sweep, but got 'none'."),
        ("device none", "MODEL must be a run folder with a model.tflite, or a .tflite file, but got none."),
    ],
)
def test_bad_input_is_answered_before_tensorflow_loads(tmp_path, arguments, words):
    code = f"import sys; from larq_equalbits_program import main; sys.argv[1:] = {arguments.split()}; "
    check = "import atexit; atexit.register(lambda: print('tensorflow' in sys.modules)); main()"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert done.stderr.strip().endswith(words)


def test_the_shell_completes_names():
    found = ShellComplete(program, {}, "larq-equalbits", "_X").get_completions(["train", "--model"], "res")
    assert [item.value for item in found] == ["resnet18", "resnet20", "resnet34"]
