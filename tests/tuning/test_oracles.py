import json

import pytest

from larq_equalbits._errors import InputError
from larq_equalbits.tuning import keras_tuner, oracles

OBJECTIVE = keras_tuner.Objective("score", "max")


def grid(folder, ratios=(0.2, 0.5), seeds=(0, 1)):
    oracle = oracles.GridOracle(ratios, seeds, objective=OBJECTIVE)
    oracle._set_project_dir(str(folder), "sweep")
    return oracle


def reloaded(folder, **arguments):
    oracle = grid(folder, **arguments)
    oracle.reload()
    return oracle


def point(trial):
    values = trial.hyperparameters.values
    return values["positive_ratio"], values["seed"]


def end(oracle, trial, status="COMPLETED", score=1.0):
    # A trial that came over the network is another object than the oracle's.
    copy = keras_tuner.engine.trial.Trial(
        trial.hyperparameters.copy(), trial_id=trial.trial_id, status=trial.status
    )
    if status == "COMPLETED":
        oracle.update_trial(trial.trial_id, {"score": score})
    copy.status = status
    oracle.end_trial(copy)


def test_the_grid_is_every_pair_once(tmp_path):
    oracle = grid(tmp_path)
    points = []
    while (trial := oracle.create_trial("one")).status == "RUNNING":
        points.append(point(trial))
        end(oracle, trial)
    assert points == [(0.2, 0), (0.5, 0), (0.2, 1), (0.5, 1)]
    assert trial.status == "STOPPED"
    assert oracle.finished()


def test_after_a_kill_what_ran_runs_again_and_what_ended_does_not(tmp_path):
    oracle = grid(tmp_path)
    first, second = oracle.create_trial("one"), oracle.create_trial("two")
    end(oracle, first, score=0.25)
    oracle = reloaded(tmp_path)
    again = oracle.create_trial("one")
    assert point(again) == point(second)
    end(oracle, again)
    assert [point(oracle.create_trial("one")), point(oracle.create_trial("two"))] == [(0.2, 1), (0.5, 1)]
    assert oracle.trials[first.trial_id].score == 0.25


def test_a_kill_between_the_files_of_a_trial_neither_loses_nor_repeats_one(tmp_path, monkeypatch):
    oracle = grid(tmp_path)
    end(oracle, oracle.create_trial("one"))
    with monkeypatch.context() as patch:
        # The trial's own file is there, the oracle's is the one before.
        patch.setattr(oracle, "save", lambda: None)
        lost = oracle.create_trial("one")
    oracle = reloaded(tmp_path)
    again = oracle.create_trial("one")
    assert (again.trial_id, point(again)) == (lost.trial_id, point(lost))
    with monkeypatch.context() as patch:
        patch.setattr(oracle, "save", lambda: None)
        end(oracle, again)
    oracle = reloaded(tmp_path)
    assert point(oracle.create_trial("one")) == (0.2, 1)
    assert oracle.end_order == ["0", "1"]


def test_a_kill_after_the_result_and_before_the_end_counts_the_result_once(tmp_path):
    oracle = grid(tmp_path)
    trial = oracle.create_trial("one")
    oracle.update_trial(trial.trial_id, {"score": 0.5})
    oracle = reloaded(tmp_path)
    end(oracle, oracle.create_trial("one"), score=0.25)
    assert oracle.trials[trial.trial_id].score == 0.25


def test_the_trial_of_a_silent_worker_goes_to_another_and_ends_once(tmp_path):
    oracle = grid(tmp_path, seeds=(0,))
    lost, other = oracle.create_trial("lost"), oracle.create_trial("other")
    end(oracle, other)
    assert oracle.create_trial("other").status == "IDLE"
    oracle._seen["lost"] -= 2 * oracle.patience
    again = oracle.create_trial("other")
    assert again.trial_id == lost.trial_id
    # The silent worker was alive after all.
    end(oracle, lost, score=0.75)
    end(oracle, again, score=0.75)
    assert oracle.end_order == [other.trial_id, lost.trial_id]
    assert oracle.trials[lost.trial_id].score == 0.75
    assert oracle.create_trial("other").status == "STOPPED"
    assert oracle.finished()


def test_a_sign_of_life_keeps_a_trial(tmp_path):
    oracle = grid(tmp_path, seeds=(0,))
    trial = oracle.create_trial("slow")
    oracle._seen["slow"] -= 2 * oracle.patience
    assert oracle.get_trial(trial.trial_id).trial_id == trial.trial_id
    end(oracle, oracle.create_trial("other"))
    assert oracle.create_trial("other").status == "IDLE"


def test_a_worker_that_comes_back_gets_its_trial_again_until_it_counts_as_failed(tmp_path):
    oracle = grid(tmp_path, seeds=(0,))
    ended = []
    oracle.on_end = ended.append
    first = oracle.create_trial("one")
    assert [oracle.create_trial("one").trial_id for _ in range(2)] == [first.trial_id] * 2
    assert oracle.create_trial("one").trial_id != first.trial_id
    assert [(trial.status, trial.message) for trial in ended] == [("FAILED", "its worker died 3 times")]


def test_failures_do_not_end_the_search_and_keep_their_reason(tmp_path):
    oracle = grid(tmp_path, seeds=range(4))
    for _ in range(7):
        trial = oracle.create_trial("one")
        path = tmp_path / "sweep" / f"trial_{trial.trial_id}" / oracles.trials.FAILURE
        path.write_text(json.dumps({"reason": "too hot"}))
        end(oracle, trial, "FAILED")
    assert oracle.create_trial("one").status == "RUNNING"
    again = reloaded(tmp_path, seeds=range(4))
    assert {trial.message for trial in again.trials.values()} == {"too hot", None}


def test_damaged_files_are_named(tmp_path):
    oracle = grid(tmp_path)
    oracle.create_trial("one")
    (tmp_path / "sweep" / "oracle.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        reloaded(tmp_path)


def test_a_trial_whose_worker_the_system_killed_for_memory_has_failed_at_once(tmp_path):
    oracle = grid(tmp_path, seeds=(0,))
    trial = oracle.create_trial("one")
    oracle.bury("one", "memory ran out")
    assert (trial.status, trial.message) == ("FAILED", "memory ran out")
    assert oracle.create_trial("two").trial_id != trial.trial_id


@pytest.mark.parametrize("seconds", ["abc", "nan", "inf", "0", "-1"])
def test_a_patience_that_is_no_time_is_named(monkeypatch, seconds):
    monkeypatch.setenv("LARQ_EQUALBITS_PATIENCE", seconds)
    words = f"LARQ_EQUALBITS_PATIENCE must be .* of seconds, but got '{seconds}'"
    with pytest.raises(InputError, match=words):
        oracles._patience()
