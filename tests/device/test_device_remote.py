"""Models over the real sshd on loopback, and over the real adb client with a server of the tests' own."""

import getpass
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from forking import free_ports

from larq_equalbits._errors import DeviceError, DeviceLostError
from larq_equalbits.device.adb import Adb
from larq_equalbits.device.ssh import Ssh

ADB_SERVER = Path(__file__).parent.parent / "programs" / "adb_server.py"
needs_adb = pytest.mark.skipif(not shutil.which("adb"), reason="needs the adb client: apt-get install adb")


def test_ssh_measures_compares_and_cleans_up(measured, converted, write_program, ssh, folders):
    model, tflite = converted
    before = folders()
    target, config, _ = ssh
    options = {"keras_model": model, "ssh_config": config, "program": write_program()}
    report = measured({"small": tflite}, target, **options)
    assert not report.failures
    for result in report.results:
        assert result.latency.count == 5 and result.operators and result.memory_kib
        assert result.agreement("host").identical and result.agreement("keras").argmax == 1
    assert report.devices[target]["cores"].isdigit()
    assert report.devices[target]["free_kib"].isdigit()
    assert folders() == before


@pytest.mark.parametrize(
    "ssh", ["ForceCommand sh -c 'echo Welcome; eval \"$SSH_ORIGINAL_COMMAND\"'"], indirect=True
)
def test_a_login_shell_that_talks_and_a_folder_with_everything_in_its_name_do_no_harm(
    measured, converted, write_program, ssh, tmp_path
):
    awkward = tmp_path / 'it\'s a "folder"; $(touch hacked) `id` : * -rf'
    awkward.mkdir()
    (awkward / "mine").write_text("stays")
    options = {"device_folder": str(awkward), "profile": False}
    (result,) = measured(converted[1], ssh[0], ssh_config=ssh[1], program=write_program(), **options).results
    assert not result.failure and result.agreement("host").identical
    assert [path.name for path in awkward.iterdir()] == ["mine"]
    assert not list(tmp_path.rglob("hacked"))


def test_a_host_that_disappears_leaves_what_was_measured(measured, converted, write_program, ssh, tmp_path):
    target, config, server = ssh
    count = shlex.quote(str(tmp_path / "starts"))
    # The fourth start is that of the second image: it takes the daemon and this connection's process with it.
    pull_the_plug = (
        f"echo x >>{count}; if [ $(wc -l <{count}) -gt 3 ]; then kill -9 {server.pid}; p=$$; "
        'while [ "$p" -gt 1 ]; do p=$(ps -o ppid= -p $p | tr -d " "); case $(ps -o comm= -p $p) in '
        "sshd*) kill -9 $p;; *python*|pytest*) exit 1;; esac; done; fi"
    )
    options = {"ssh_config": config, "device_folder": str(tmp_path), "profile": False}
    options["program"] = write_program(before=pull_the_plug)
    report = measured({"a": converted[1], "b": converted[1]}, target, **options)
    first, second = report.results
    assert "cannot be reached" in first.failure
    assert first.latency.count == 5 and len(first.outputs[0]) == 1 and first.agreement("host").identical
    assert second.failure.startswith("not measured") and second.latency is None


def test_ssh_says_why_it_cannot_connect(measured, converted, write_program, ssh):
    target, config, _ = ssh
    nobody = f"ssh:{getpass.getuser()}@127.0.0.1:{free_ports(1)[0]}"
    options = {"program": write_program(), "ssh_config": config}
    with pytest.raises(DeviceLostError, match=r"cannot be reached.*refused"):
        measured(converted[1], nobody, **options)
    with pytest.raises(DeviceError, match="cannot make a folder in /no/such/folder"):
        measured(converted[1], target, device_folder="/no/such/folder", **options)
    report = measured(converted[1], ["local", nobody], **options)
    assert [bool(result.failure) for result in report.results] == [False, True]


def test_ssh_refuses_a_program_for_another_system(measured, converted, ssh, tmp_path, folders):
    before = folders()
    wrong = tmp_path / "program"
    wrong.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x08\x00" + bytes(44))
    with pytest.raises(DeviceError, match="but the program is for"):
        measured(converted[1], ssh[0], program=wrong, ssh_config=ssh[1])
    assert folders() == before


@pytest.fixture
def awkward_temporary_folder(monkeypatch):
    # The path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="a b%h", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield


def test_the_only_folder_ever_removed_is_our_own(ssh, tmp_path, awkward_temporary_folder):
    target, config, _ = ssh
    address, port = target.removeprefix("ssh:").rsplit(":", 1)
    shell = Ssh("pi", address, int(port), str(tmp_path), config)
    folder = shell.make_folder()
    assert Path(folder).parent == tmp_path and Path(folder).stat().st_mode & 0o777 == 0o700
    shell.put({"a b'c": b"1\0\xff", "run": b"#!/bin/sh\necho ran\n"})
    assert shell.get(["a b'c", "missing"]) == {"a b'c": b"1\0\xff"}
    assert shell.get(["missing"]) == {}
    assert shell.run(f"{shlex.quote(folder)}/run").output == b"ran\n"
    assert Path(shell._socket).is_socket()
    assert shell.run("echo ran; exit 255")[:2] == (254, b"ran\n")
    shell.remove_folder()
    assert not Path(folder).exists() and tmp_path.exists()
    shell.remove_folder()


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """Starts an adb server with one device; returns the folder that is its /data/local/tmp."""
    servers = []

    def start(*options):
        root = tmp_path / "phone"
        root.mkdir()
        server = subprocess.Popen(
            [sys.executable, ADB_SERVER, root, *options], stdout=subprocess.PIPE, text=True
        )
        servers.append(server)
        # A number instead of a name keeps the client from starting a server of its own.
        monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:127.0.0.1:{int(server.stdout.readline())}")
        return root

    yield start
    for server in servers:
        server.kill()
        server.wait(10)
        server.stdout.close()


@needs_adb
@pytest.mark.parametrize(("features", "target"), [("shell_v2,cmd", "adb"), ("cmd", "adb:test-phone")])
def test_adb_measures_compares_and_cleans_up(measured, converted, write_program, phone, features, target):
    model, tflite = converted
    root = phone("--features", features)
    report = measured(tflite, target, keras_model=model, program=write_program())
    (result,) = report.results
    assert not result.failure
    assert result.latency.count == 5 and result.operators and result.memory_kib
    assert result.agreement("host").identical and result.agreement("keras").argmax == 1
    assert list(root.iterdir()) == []


@needs_adb
def test_a_phone_that_is_unplugged_leaves_what_was_measured(measured, converted, write_program, phone):
    phone("--dies-after", "5")
    report = measured({"a": converted[1], "b": converted[1]}, "adb", program=write_program(), profile=False)
    first, second = report.results
    assert "adb" in first.failure and first.latency.count == 5 and len(first.outputs[0]) == 1
    assert second.failure.startswith("not measured")


@needs_adb
def test_adb_says_which_devices_it_sees(measured, converted, write_program, phone):
    phone()
    with pytest.raises(DeviceLostError, match=r"no such device.*test-phone"):
        measured(converted[1], "adb:other-phone", program=write_program())
    phone_is_there = Adb("adb")
    phone_is_there.find()
    assert phone_is_there.run("echo one; exit 3").code == 3


@needs_adb
def test_a_path_with_words_of_adb_is_no_lost_device(phone):
    (phone("--dies-after", "0") / "closed device").mkdir()
    there = Adb("adb")
    there.folder = "/data/local/tmp/closed device"
    there.put({"a": b"1"})
    assert there.get(["a", "missing"]) == {"a": b"1"}
    there.folder = "/data/local/tmp/no device"
    with pytest.raises(
        DeviceError, match=r"cannot write to /data/local/tmp/no device: .*failed to copy"
    ) as raised:
        there.put({"a": b"1"})
    assert raised.type is DeviceError
    with pytest.raises(DeviceLostError, match="disappeared"):
        there.run("true")
    with pytest.raises(DeviceLostError, match=r"cannot be reached: .*device '.*' not found"):
        there.put({"a": b"1"})


@needs_adb
def test_adb_without_a_server_says_so(measured, converted, write_program, monkeypatch):
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(DeviceLostError, match="adb does not work"):
        measured(converted[1], "adb", program=write_program())


def test_a_missing_client_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/no/such/folder")
    with pytest.raises(DeviceError, match="ssh is not installed"):
        Ssh("ssh:host", "host").make_folder()
    with pytest.raises(DeviceError, match="adb is not installed"):
        Adb("adb").find()
