import json

import larq as lq
import pytest
from click.testing import CliRunner

from larq_equalbits import _choices, data, export, zoo
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits.cli import names, program
from larq_equalbits.training import Run, Settings, recipes

SHORT = ["--epochs", "1", "--train-images", "128", "--batch-size", "64", "--quiet"]
QUICK = ["--quantizer", "ste_sign", "--model-option", "width=0.05", *SHORT]


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


@pytest.mark.parametrize("width", [2**63, "1e308", "nan", "-1"])
def test_a_width_that_no_network_has_leaves_nothing(tmp_path, monkeypatch, width):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="width"):
        run("--model-option", f"width={width}")
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_not_there_is_one_line_and_exit_status_2(refused, tmp_path):
    arguments = ("--dataset", "cifar10", "--data-dir", tmp_path / "empty", "--out", tmp_path / "run")
    line = refused("train", *arguments).splitlines()[-1]
    assert line.startswith("larq-equalbits: data_dir must hold cifar10 prepared by tensorflow-datasets")
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
