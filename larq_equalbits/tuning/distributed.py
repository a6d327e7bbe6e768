"""Chief and workers: keras-tuner's own service over gRPC, with signs of life, and workers on this machine."""

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

from larq_equalbits._errors import InputError, WorkError, invalid, require
from larq_equalbits.tuning.machine import Share, memory_kills
from larq_equalbits.tuning.oracles import Resilient

TUNER, ADDRESS, PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
PARENT = "LARQ_EQUALBITS_PARENT"
# The exit status of a worker that found that the whole search cannot go on.
GIVE_UP = 3
_RESTARTS = 3
# How many times its patience a worker waits for a chief that has never answered.
_STARTUP = 10


def role() -> str:
    """ "chief", "worker" or "single", as keras-tuner's environment variables say.

    Raises:
        InputError: only some of the variables are set, or the port is none.
    """
    given = [name for name in (TUNER, ADDRESS, PORT) if os.environ.get(name)]
    if ADDRESS not in given and PORT not in given:
        return "single"
    if len(given) < 3:
        missing = [name for name in (TUNER, ADDRESS, PORT) if name not in given]
        raise InputError(f"{', '.join(missing)} must be set too, as {', '.join(given)} is.")
    port = os.environ[PORT]
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise invalid(PORT, port, "a port from 1 to 65535")
    return "chief" if "chief" in os.environ[TUNER] else "worker"


def reach_chief(patience: float) -> None:
    """Returns once the chief of this worker answers; says on standard error that it waits.

    Args:
        patience: seconds of each of ten tries.

    Raises:
        InputError: it did not answer.
    """
    grpc = require("tuning", "grpc")
    where = f"{os.environ[ADDRESS]}:{os.environ[PORT]}"
    for attempt in range(1, _STARTUP + 1):
        with grpc.insecure_channel(where) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=patience)
                return
            except grpc.FutureTimeoutError:
                print(
                    f"the chief at {where} does not answer, try {attempt} of {_STARTUP}",
                    file=sys.stderr,
                    flush=True,
                )
    raise InputError(
        f"{ADDRESS} and {PORT} must be those of a chief that runs, but {where} did not answer {_STARTUP} tries of "
        f"{patience:g} s."
    )


@contextlib.contextmanager
def served(oracle: Resilient, address: str) -> Iterator[tuple[int, Callable[[], bool]]]:
    """Serves the oracle at `address` ("host:port", port 0 for any); yields the port and whether all is done.

    Warns where other machines reach the address: the service knows no password.

    Raises:
        InputError: nothing can be served there.
    """
    grpc = require("tuning", "grpc")
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), options=[("grpc.so_reuseport", 0)])
    servicer = OracleServicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise InputError(
            f"{ADDRESS} and {PORT} must be an address of this machine, free, but {error}"
        ) from error
    host = address.rpartition(":")[0]
    if not _is_loopback(host):
        warnings.warn(
            f"whoever reaches {host} port {port} can take this sweep's trials and report results: leave it open inside "
            f"your own network only, or set {ADDRESS} to 127.0.0.1 and connect the workers by ssh -L.",
            stacklevel=2,
        )
    oracle.serving = True

    def done() -> bool:
        if oracle.failure is not None:
            raise oracle.failure
        return servicer.stop_triggered and oracle.finished()

    server.start()
    try:
        yield port, done
    finally:
        server.stop(1).wait()
        oracle.serving = False


def _is_loopback(host: str) -> bool:
    """Whether this machine alone reaches `host`, a name or an address."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)


class SignsOfLife:
    """Tells the chief every few seconds that this worker lives, and ends the worker where the chief is gone.

    Args:
        client: keras-tuner's client of the chief's oracle.
        patience: after so many seconds without an answer the chief is gone.
    """

    def __init__(self, client: Any, patience: float) -> None:
        self.client, self.patience = client, patience
        self.trial_id: str | None = None
        self._parent = os.environ.get(PARENT)
        self._stop = threading.Event()

    def __enter__(self) -> "SignsOfLife":
        """Begins."""
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        """Ends."""
        self._stop.set()

    def _watch(self) -> None:
        interval = min(self.patience / 6, 5.0)
        # A chief may take its time to start, or have ended before this worker came.
        deadline = time.monotonic() + _STARTUP * self.patience
        asked = 0.0
        while not self._stop.wait(min(interval, 1.0)):
            if self._parent is not None and str(os.getppid()) != self._parent:
                # The process that started this worker was killed: nothing may write its folder any more.
                os._exit(GIVE_UP)
            if time.monotonic() - asked < interval:
                continue
            asked = time.monotonic()
            if self._ask(interval):
                deadline = time.monotonic() + self.patience
            elif time.monotonic() > deadline and not self._stop.is_set():
                where = f"{os.environ[ADDRESS]}:{os.environ[PORT]}"
                print(f"the chief at {where} does not answer; stopping", file=sys.stderr, flush=True)
                os._exit(GIVE_UP)

    def _ask(self, timeout: float) -> bool:
        import grpc
        from keras_tuner.src import protos

        service, stub, trial_id = protos.get_service(), self.client.stub, self.trial_id
        try:
            if trial_id is None:
                stub.GetSpace(service.GetSpaceRequest(), timeout=timeout)
            else:
                stub.GetTrial(service.GetTrialRequest(trial_id=trial_id), timeout=timeout)
        except grpc.RpcError:
            return False
        return True


class LocalWorkers:
    """Worker processes on this machine, each with its share; one that dies is replaced, unless memory ran out.

    Args:
        folder: of the search, whose ``sweep.json`` they read.
        shares: what each of them has of this machine.
        port: of the chief, on the loopback interface.
        data_dir: folder of the data sets.
    """

    def __init__(self, folder: Path, shares: Sequence[Share], port: int, data_dir: str | None) -> None:
        self.folder, self.port, self.data_dir = folder, port, data_dir
        self._logs = folder / "workers"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._deaths: dict[str, int] = {}
        self._shares = {f"worker-{index}": share for index, share in enumerate(shares)}
        self._memory_kills = memory_kills()

    def __enter__(self) -> "LocalWorkers":
        """Starts the processes."""
        for name in self._shares:
            self._start(name)
        return self

    def __exit__(self, *_: Any) -> None:
        """Ends the processes that still run."""
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait()

    def _start(self, name: str) -> None:
        environment = {
            **os.environ,
            TUNER: name,
            ADDRESS: "127.0.0.1",
            PORT: str(self.port),
            PARENT: str(os.getpid()),
            **self._shares[name].environment(),
            # A proxy cannot reach this machine's loopback interface.
            "no_grpc_proxy": "127.0.0.1",
        }
        environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        environment.setdefault("GRPC_VERBOSITY", "ERROR")
        command = [sys.executable, "-m", "larq_equalbits.tuning.worker", os.fspath(self.folder.resolve())]
        self._logs.mkdir(exist_ok=True)
        with (self._logs / f"{name}.log").open("wb") as log, self._shares[name].taken():
            self._processes[name] = subprocess.Popen(
                [*command, *([self.data_dir] if self.data_dir else [])],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def look_after(self, oracle: Resilient) -> None:
        """Replaces the workers that have died; their trials go back to the oracle.

        The trial of one that the system killed as memory ran out has failed, and the others go on without it.

        Raises:
            InputError: a worker says that the search cannot go on.
            WorkError: a worker died again and again.
        """
        for name, process in list(self._processes.items()):
            status = process.poll()
            if status is None or status == 0:
                continue
            if status == GIVE_UP:
                raise InputError(self._last_words(name))
            if status == -signal.SIGKILL and memory_kills() > self._memory_kills:
                self._without(name, oracle)
                continue
            self._deaths[name] = self._deaths.get(name, 0) + 1
            oracle.bury(name)
            if self._deaths[name] > _RESTARTS:
                raise WorkError(
                    f"{name} died {self._deaths[name]} times (exit status {status}); its last words, in "
                    f"{self._logs / name}.log: {self._last_words(name)}"
                )
            self._start(name)

    def _without(self, name: str, oracle: Resilient) -> None:
        self._memory_kills = memory_kills()
        count = len(self._processes)
        oracle.bury(name, f"memory ran out with {count} workers, and the system killed this trial's")
        if count == 1:
            self._start(name)
            return
        del self._processes[name]
        warnings.warn(
            f"memory ran out, and the system killed {name}: its trial failed, and the sweep goes on with workers: "
            f"{count - 1}.",
            stacklevel=3,
        )

    def _last_words(self, name: str) -> str:
        lines = (
            (self._logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        )
        return lines[-1] if lines else "none"
