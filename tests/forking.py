"""A program in a process of its own that has TensorFlow loaded already: a copy of one process that waits with it.

Loading TensorFlow takes four seconds of processor time, more than most programs of the tests themselves.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["larq_equalbits"])


def _start(script, arguments, environment, folder, outputs):
    for number, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.path.dirname(script))
    runpy.run_path(script, run_name="__main__")


def run(script, *arguments, folder, environment, timeout, logs):
    """Runs `script` in `folder`; its outputs go to files in `logs` and, as text, into what is returned."""
    outputs = [os.path.join(logs, name) for name in ("stdout", "stderr")]
    process = CONTEXT.Process(
        target=_start, args=(str(script), [*map(str, arguments)], environment, str(folder), outputs)
    )
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{script} took longer than {timeout} s")
    texts = []
    for path in outputs:
        with open(path, encoding="utf-8") as file:
            texts.append(file.read())
    return subprocess.CompletedProcess(arguments, process.exitcode, *texts)
