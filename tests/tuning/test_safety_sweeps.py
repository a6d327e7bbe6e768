"""The folder of a sweep: damage is answered in one line, and nothing of a user's in it is lost."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from larq_equalbits import training, tuning
from larq_equalbits._errors import InputError, WorkError
from larq_equalbits.cli import program
from larq_equalbits.tuning import distributed, oracles, trials
from larq_equalbits.tuning import folder as search_folder

SETTINGS = training.Settings(epochs=1, batch_size=32, train_images=64, model_options={"width": 0.1})
OPTIONS = ("--epochs", "1", "--batch-size", "32", "--train-images", "64", "--model-option", "width=0.1")
SWEEP = ("sweep", *OPTIONS, "--ratios", "0.5", "--quiet", "--out")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "sweep"
    tuning.BitRatioSweep("conv2", [0.5], out=folder, settings=SETTINGS).search(verbose=0)
    return folder


@pytest.fixture
def copy(sweep, tmp_path):
    return shutil.copytree(sweep, tmp_path / "sweep", symlinks=True)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("sweep.json", {"objective": 3}),
        ("sweep.json", {"ratios": [[0.5]]}),
        ("sweep.json", {"kind": None}),
        ("trials.json", {"trials": [{"folder": 3}]}),
        ("trials.json", {"trials": None}),
        ("trial_0/trial.json", {"status": {}}),
        ("trial_0/trial.json", {"trial_id": "../../x"}),
        ("trial_0/trial.json", {"message": 3}),
        ("trial_0/trial_results.json", {"metrics": {"loss": "x"}}),
        ("trial_0/trial_results.json", {"values": {"positive_ratio": "x"}}),
        ("trial_0/trial_results.json", {"seconds": None}),
        ("oracle.json", {"retry_queue": "x", "start_order": 3}),
        ("oracle.json", {"seed_state": None}),
        ("oracle.json", None),
        ("trial_0/trial.json", None),
        ("trial_0/trial_results.json", None),
        ("sweep.json", None),
    ],
)
def test_a_damaged_file_of_a_sweep_is_bad_input(copy, name, changes):
    path = copy / name
    if changes is None:
        path.write_text("[" * 100_000)
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    failed = 0
    for command in (("report",), ("sweep", "--report", "--out"), SWEEP):
        done = CliRunner().invoke(program, [*command, str(copy)])
        assert done.exception is None or isinstance(done.exception, InputError), repr(done.exception)
        failed += done.exception is not None
    assert failed


def test_another_sweep_replaces_what_a_sweep_wrote_and_nothing_else(copy):
    mine = [copy / name for name in ("notes.txt", "trial_0/notes.txt", "trial_photos/a.png", "workers/a.txt")]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    search_folder.clear(copy)
    assert sorted(path for path in copy.rglob("*") if path.is_file()) == sorted(mine)


def test_a_folder_in_the_place_of_the_best_run_stays(copy):
    (copy / "best").unlink()
    (copy / "best").mkdir()
    (copy / "best" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="best"):
        tuning.BitRatioSweep("conv2", [0.5], out=copy, settings=SETTINGS)
    assert (copy / "best" / "notes.txt").exists()


def test_a_copy_of_the_best_run_is_kept_where_there_are_no_links(copy, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    best, trial = copy / "best", copy / "trial_0"
    search_folder.point_to_best(copy, trial)
    (best / "notes.txt").write_text("mine")
    search_folder.point_to_best(copy, trial)
    assert (best / "notes.txt").exists() and not (copy / "best.1").exists()
    (trial / "results.json").write_text("{}")
    search_folder.point_to_best(copy, trial)
    assert (best / "results.json").read_text() == "{}" and (copy / "best.1" / "notes.txt").exists()
    (best / "notes.txt").write_text("mine")
    search_folder.clear(copy)
    assert [path.name for path in best.rglob("*")] == ["notes.txt"]


def test_the_file_of_another_program_is_no_sweep(tmp_path):
    (tmp_path / "sweep.json").write_text('{"method": "grid"}')
    with pytest.raises(InputError, match=r"sweep\.json"):
        tuning.BitRatioSweep("conv2", [0.5], out=tmp_path, settings=SETTINGS, overwrite=True)
    assert (tmp_path / "sweep.json").read_text() == '{"method": "grid"}'


def test_a_trial_that_fails_is_told_in_a_line(tmp_path, capfd):
    settings = SETTINGS.replace(constraint="none such")
    with pytest.raises(WorkError, match="constraint must be"):
        tuning.BitRatioSweep("conv2", [0.5], out=tmp_path / "sweep", settings=settings).search()
    assert "Traceback" not in capfd.readouterr().err


def test_a_loss_without_end_has_no_deviation():
    folder, values = "trial", {"positive_ratio": 0.5, "seed": 0}
    two = [
        trials.Trial("0", folder, "COMPLETED", values, {"val_loss": loss}, 1.0, 1.0, None)
        for loss in (float("nan"), 1.0)
    ]
    assert trials.by_ratio(two)[0].to_dict()["deviation"] == {"val_loss": None}


@pytest.mark.parametrize("name", ["trial_0", "workers"])
def test_a_sweep_follows_no_link_in_its_folder(tmp_path, name):
    described = {"kind": "x", "version": "1", "objective": {"name": "loss"}}
    search_folder.claim(tmp_path / "sweep", described, overwrite=False)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sweep" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{name} is a link"):
        search_folder.claim(tmp_path / "sweep", described, overwrite=True)


@pytest.mark.parametrize("port", ["99999", "0", "-1", "http"])
def test_a_port_is_one(monkeypatch, port):
    service = {distributed.TUNER: "chief", distributed.ADDRESS: "127.0.0.1", distributed.PORT: port}
    for name, value in service.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=distributed.PORT):
        distributed.role()


@pytest.mark.parametrize(
    ("host", "open_to_others"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)]
)
def test_a_chief_that_others_reach_warns(host, open_to_others, recwarn):
    oracle = oracles.Resilient(objective="val_accuracy", max_trials=1)
    with distributed.served(oracle, f"{host}:0"):
        pass
    said = [str(each.message) for each in recwarn if "ssh -L" in str(each.message)]
    assert len(said) == open_to_others


@pytest.mark.slow
def test_a_sweep_keeps_less_than_a_megabyte_of_a_trial(run_python):
    program = Path(__file__).parents[2] / "scripts/benchmarks/scale.py"
    done = run_python(program, "--epochs", 2, "--trials", 12, timeout=900)
    assert float(done.stdout.split("memory: ")[1].split()[0]) < 1, done.stdout
