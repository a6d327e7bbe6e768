import runpy
from pathlib import Path

import pytest

import larq_equalbits

ROOT = Path(__file__).parent.parent
QUANTIZED = "larq.layers.QuantDense(2, kernel_quantizer='bi_half')"


def test_the_package_selects_keras_2_and_registers_whatever_the_program_is_called(run_python):
    code = (
        "import sys; sys.argv[0] = 'larq-equalbits'\n"
        "import larq_equalbits, tensorflow as tf, larq\n"
        f"assert tf.keras.layers.Layer.__module__.startswith('tf_keras')\n{QUANTIZED}"
    )
    run_python("-c", code, env={"TF_USE_LEGACY_KERAS": "0"})


def test_tensorflow_with_keras_3_first_is_refused_with_advice(run_python):
    code = (
        "import os\nimport tensorflow as tf\n"
        "for before in ('', 'tf.keras.layers', 'os.environ[\"TF_USE_LEGACY_KERAS\"] = \"1\"'):\n"
        "    exec(before)\n"
        "    try:\n        import larq_equalbits\n"
        "    except ImportError as error:\n        print(error)\n"
    )
    lines = run_python("-c", code, env={"TF_USE_LEGACY_KERAS": "0"}).stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("larq_equalbits needs Keras 2") and "TF_USE_LEGACY_KERAS" in line


def test_without_larq_the_command_that_installs_it_is_named(run_python):
    done = run_python("-c", "import sys; sys.modules['larq'] = None; import larq_equalbits", status=1)
    assert "ImportError: larq_equalbits needs Larq: pip install --no-deps larq" in done.stderr


NAMESPACES = {
    *("callbacks", "constraints", "data", "device", "export", "metrics", "optimizers", "plots"),
    *("pruning", "quantizers", "theory", "training", "tuning", "zoo"),
}


def test_the_public_names_are_few_and_load():
    assert set(dir(larq_equalbits)) == {"binarize", *NAMESPACES}
    for name in NAMESPACES:
        namespace = getattr(larq_equalbits, name)
        assert sorted(dir(namespace)) == sorted(namespace.__all__)
        for public in namespace.__all__:
            assert getattr(namespace, public) is not None
    with pytest.raises(AttributeError, match="nothing"):
        larq_equalbits.nothing  # noqa: B018 (the access is the test)


def test_the_package_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["larq_equalbits", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("larq_equalbits", run_name="__main__")
    assert not ended.value.code and "convert" in capsys.readouterr().out


def test_tensorflow_says_nothing_until_it_is_asked_to(run_python):
    code = "import os; os.environ.pop('TF_CPP_MIN_LOG_LEVEL')\n"
    code += "import larq_equalbits, tensorflow as tf\nprint(tf.reduce_sum(tf.ones(2)).numpy())"
    done = run_python("-c", code)
    assert (done.stdout.strip(), done.stderr) == ("2.0", "")
    assert run_python("-c", code, env={"LARQ_EQUALBITS_VERBOSE": "1"}).stderr


def test_python_that_is_started_in_a_clone_with_tensorflow_and_larq_first_finds_the_networks(run_python):
    code = (
        "import sys; sys.meta_path[:] = [each for each in sys.meta_path if 'Editable' not in str(each)]; "
        f"import tensorflow, larq, larq_equalbits; print(larq_equalbits.zoo.__file__); {QUANTIZED}"
    )
    done = run_python("-c", code, cwd=ROOT, env={"TF_USE_LEGACY_KERAS": "1"})
    assert done.stdout.strip() == str(ROOT / "zoo" / "__init__.py"), done.stderr


def test_a_notebook_hears_nothing_of_files_that_tensorflow_writes(run_python, tmp_path):
    code = (
        "import sys; sys.ps1 = '> '; import larq_equalbits, tensorflow as tf; "
        f"tf.saved_model.save(tf.Module(), {str(tmp_path / 'saved')!r})"
    )
    done = run_python("-c", code, env={"TF_CPP_MIN_LOG_LEVEL": "3"})
    assert (done.stdout, done.stderr) == ("", "")
