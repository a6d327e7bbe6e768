"""A program in a process of its own that has TensorFlow loaded already: a copy of one process that waits with it.

Loading TensorFlow takes four seconds of processor time, more than most programs of the tests themselves.
"""

import gc
import multiprocessing
import os
import runpy
import socket
import sys

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["larq_equalbits"])


def _run(script, arguments, folder, outputs, environment):
    # No collection looks through what was loaded before.
    gc.freeze()
    for number, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.path.dirname(script))
    runpy.run_path(script, run_name="__main__")


def start(script, *arguments, outputs, folder=".", **environment):
    """Starts `script` in `folder`, with standard output and error in the two files `outputs`."""
    texts = [*map(str, arguments)], os.path.abspath(folder), [*map(str, outputs)]
    process = CONTEXT.Process(target=_run, args=(str(script), *texts, environment))
    process.start()
    return process


def ended(process, timeout=300):
    """The exit status of `process`; it is killed where it takes longer than `timeout` seconds."""
    process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode


def free_ports(count):
    """Ports of the loopback interface on which nobody listens."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
