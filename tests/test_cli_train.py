import json

import larq as lq
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from larq_equalbits import _choices, data, export, zoo
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError, advice
from larq_equalbits.cli import names, program
from larq_equalbits.training import Run, Settings, recipes

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
        (["--milestones", ""], "--milestones"),
        *((["--model-option", f"width={width}"], "width") for width in (2**63, "1e308", "nan", "-1")),
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
    assert set(_choices.MODELS) == set(zoo.list_models())
    assert _choices.RECIPES == recipes.NAMES
    assert _choices.DATASETS == data.NAMES
    assert tuple(export.REWRITES) == _choices.REWRITES
    for name in _choices.QUANTIZERS:
        assert callable(lq.quantizers.get_kernel_quantizer(name))
    with pytest.raises(InputError, match="Did you mean bi_half"):
        names.Name(_choices.QUANTIZERS).convert("bi_haf", None, None)


BAD = [
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
    ("train --name a/b", "--name must be the plain name of a folder, without separators, but got 'a/b'."),
    ("train --out run", "add --resume to go on with it, or --overwrite to replace it."),
    (
        "train --resume --name none",
        "folder must be that of a run, but there is no runs/none/settings.json.",
    ),
    ("train --epochs 2 --warmup-epochs 3", "warmup_epochs must be fewer than the 2 epochs, but got 3.0."),
    ("sweep --ratios 0.3,2", "ratios must be from 0 to 1, but got 2.0."),
    ("sweep --workers 0", "--workers must be a number from 1 to 1000, or auto, but got '0'."),
    ("sweep --search random --quantizers bihalf", "but got 'bihalf'. Did you mean bi_half?"),
    (
        "sweep --search random --sparsities 1",
        "numbers from 0 to below 1 with commas between, but got '1'.",
    ),
    ("sweep --per-layer", "--per-layer needs another --search than grid."),
    ("sweep --objective speed", "for the objective 'speed', but got None."),
    ("sweep --objective a --objective b", "NAME=WEIGHT where there are several, but got 'a'."),
    ("sweep --out run", "out must be a new folder or that of a sweep, but run holds other things."),
    ("sweep --out run --report", "needs the folder of a sweep, but there is no run/sweep.json."),
    ("convert run --without conv", "but got 'conv'. Did you mean conv1d?"),
    ("convert run --decisions most", "argmax, values or a threshold, or OUTPUT=RULE, but got 'most'."),
    ("convert run --out run", "--out must be the name of a file, but it is a folder, but got 'run'."),
    ("convert run", f"which is not installed: {advice('deploy')}."),
    ("verify run", f"which is not installed: {advice('deploy')}."),
    ("report .", "model.json, device/report.json, so there is nothing to report."),
    ("report run --out other.txt", "but other.txt is another: choose another name."),
    ("device run --on pi", '"ssh:USER@HOST[:PORT]" or "adb[:SERIAL]", but got \'pi\'.'),
    ("device run --threads 0", "from 1 to 1024 with commas between, such as 1,2,4, but got '0'."),
    ("device run --inputs none.npy", "--inputs: there is no none.npy."),
]


def test_bad_input_is_answered_before_tensorflow_loads(run_python, tmp_path):
    (tmp_path / "run").mkdir()
    settings = {"model": "conv2", "dataset": "digits", "recipe": "mpt"}
    (tmp_path / "run" / "settings.json").write_text(json.dumps(settings))
    for file in ("run/model.tflite", "other.txt"):
        (tmp_path / file).write_text("")
    code = (
        "import os, sys\nfrom larq_equalbits_program import main\n"
        f"os.chdir({str(tmp_path)!r}); sys.modules['larq_compute_engine'] = None\n"
        f"for arguments in {[arguments.split() for arguments, _ in BAD]}:\n"
        "    sys.argv[1:] = arguments\n"
        "    try:\n        main()\n    except SystemExit as done:\n        assert done.code == 2, arguments\n"
        "    assert 'tensorflow' not in sys.modules, arguments\n"
        "    print('---', file=sys.stderr)"
    )
    done = run_python("-c", code)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for said, (_, words) in zip(done.stderr.split("\n---\n")[:-1], BAD, strict=True):
        assert said.endswith(words)


def test_the_shell_completes_names():
    found = ShellComplete(program, {}, "larq-equalbits", "_X").get_completions(["train", "--model"], "res")
    assert [item.value for item in found] == ["resnet18", "resnet20", "resnet34"]
