"""The pages of the documentation run as typed, each in a process and a folder of its own; docstrings' examples run."""

import doctest
import importlib
import operator
import re
from pathlib import Path

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from markdown_it import MarkdownIt

import larq_equalbits as lqe

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Packages that pages name classes of, beside this one.
OTHERS = ("larq_compute_engine.", "larq_equalbits_runtime.", "tf.")
# What an untrained network answers depends on rounding for an image in a thousand.
START = """
import shlex
import sys
import larq_equalbits
import tensorflow as tf
from larq_equalbits.cli import main

def bash(text):
    for line in text.replace("\\\\\\n", " ").splitlines():
        sys.argv = shlex.split(line, comments=True)
        assert sys.argv[0] == "larq-equalbits", line
        try:
            main()
        except SystemExit as end:
            assert end.code == 0, line

tf.keras.utils.set_random_seed(0)
page = {"__name__": "__main__"}
"""


def program(page):
    """The ```python and ```bash blocks of `page` as one program (```console only shows); "" where it has none."""
    lines = []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence" and token.info == "python":
            # The lines of an error are those of the page.
            code = "\n" * (token.map[0] + 1) + token.content
            lines.append(f"exec(compile({code!r}, {page.name!r}, 'exec'), page)")
        elif token.type == "fence" and token.info == "bash":
            lines.append(f"bash({token.content!r})")
    return "\n".join([START, *lines]) if lines else ""


PROGRAMS = {str(page.relative_to(ROOT)): text for page in PAGES if (text := program(page))}


@pytest.mark.parametrize("page", PROGRAMS)
def test_the_blocks_of_a_page_run_in_their_order(run_script, tmp_path, page):
    run_script(PROGRAMS[page], cwd=tmp_path, timeout=500)


@pytest.mark.parametrize("page", PROGRAMS)
def test_a_page_imports_the_package_before_tensorflow(page):
    # The process of the test above has loaded it, a reader's has not.
    imports = re.findall(
        r"^(?:import|from) (larq_equalbits|tensorflow|larq|keras)\b", (ROOT / page).read_text(), re.M
    )
    assert imports[:1] in ([], ["larq_equalbits"])


def modules():
    for folder, package in (
        (ROOT / "larq_equalbits", "larq_equalbits"),
        (ROOT / "zoo", "larq_equalbits.zoo"),
    ):
        for path in sorted(folder.rglob("*.py")):
            if ">>>" in path.read_text(encoding="utf-8"):
                parts = path.relative_to(folder).with_suffix("").parts
                yield ".".join([package, *(part for part in parts if part != "__init__")])


@pytest.fixture(scope="module")
def taken_for_granted():
    """What an example may use beside the names of its module, as docs/index.md says."""
    tf.keras.utils.set_random_seed(0)
    conv = lq.layers.QuantConv2D(
        8, 3, input_quantizer="ste_sign", kernel_quantizer="bi_half", input_shape=(8, 8, 32), name="conv"
    )
    head = [tf.keras.layers.GlobalAveragePooling2D(), tf.keras.layers.Dense(3, name="dense")]
    model = tf.keras.Sequential([conv, *head], name="model")
    tflite = lqe.export.convert(model, verify_on=False).tflite
    return {"lq": lq, "lqe": lqe, "model": model, "np": np, "tf": tf, "tflite": tflite}


@pytest.mark.parametrize("name", modules())
def test_the_examples_of_docstrings_are_right(taken_for_granted, tmp_path, name):
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner()
    for place, example in enumerate(finder.find(module, globs=vars(module) | taken_for_granted)):
        example.globs["folder"] = tmp_path / str(place)
        example.globs["folder"].mkdir()
        runner.run(example)
    result = runner.summarize()
    assert result.attempted and not result.failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_classes_that_a_page_names_are_there(page):
    named = re.findall(r"`((?:[a-z_]+\.)+[A-Z]\w*)", page.read_text(encoding="utf-8"))
    for name in {each for each in named if not each.startswith(OTHERS)}:
        assert operator.attrgetter(name)(lqe)


def test_every_public_name_has_an_example():
    public = {"binarize": lqe.binarize}
    for namespace in set(lqe.__all__) - {"binarize"}:
        module = getattr(lqe, namespace)
        public |= {f"{namespace}.{name}": getattr(module, name) for name in module.__all__}
    # The other networks are called as conv2 is; a training takes seconds, and the guides have one.
    spared = {f"zoo.{name}" for name in lqe.zoo.list_models()} - {"zoo.conv2"} | {"training.train"}
    bare = {
        name
        for name, each in public.items()
        if callable(each)
        and not (isinstance(each, type) and issubclass(each, Exception))
        and ">>>" not in (each.__doc__ or "")
    }
    assert bare == spared
