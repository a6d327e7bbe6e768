"""An adb server with one device, whose shell is this machine's, for the real adb client to talk to.

It speaks what a client hears (AOSP's adb/OVERVIEW.TXT, SERVICES.TXT and SYNC.TXT): the host services that a
client asks for, `shell:` with and without the v2 packets, and `sync:`. The device's /data/local/tmp is the
folder ROOT. After --dies-after shell commands the device is gone, in the middle of the next one.

usage: adb_server.py ROOT [--features shell_v2] [--dies-after N]; prints its port.
"""

import argparse
import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

SERIAL = "test-phone"


class Device:
    def __init__(self, root, features, dies_after):
        self.root, self.features, self.left = root, features, dies_after
        self.present = True

    def local(self, text):
        return text.replace("/data/local/tmp", self.root)


def receive(connection, count):
    content = b""
    while len(content) < count:
        chunk = connection.recv(count - len(content))
        if not chunk:
            raise ConnectionError("closed")
        content += chunk
    return content


def answer(connection, text, status=b"OKAY"):
    connection.sendall(status + f"{len(text):04x}{text}".encode())


def shell(connection, device, script, packets):
    device.left -= 1
    if device.left < 0:
        device.present = False
        return
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE if packets else subprocess.STDOUT}
    finished = subprocess.run(["sh", "-c", device.local(script)], stdin=subprocess.DEVNULL, **streams)
    if not packets:
        connection.sendall(finished.stdout.replace(b"\n", b"\r\n"))
        return
    parts = (finished.stdout, finished.stderr, bytes([finished.returncode & 255]))
    for kind, content in enumerate(parts, 1):
        if content:
            connection.sendall(struct.pack("<BI", kind, len(content)) + content)


def send_status(connection, path):
    fields = (0, 0, 0)
    with contextlib.suppress(OSError):
        found = os.stat(path)
        fields = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))
    connection.sendall(b"STAT" + struct.pack("<III", *fields))


def refuse(connection, error):
    reason = str(error).encode()
    connection.sendall(struct.pack("<4sI", b"FAIL", len(reason)) + reason)


def store(connection, target):
    path, _, mode = target.rpartition(",")
    content = b""
    while True:
        kind, length = struct.unpack("<4sI", receive(connection, 8))
        if kind == b"DONE":
            break
        content += receive(connection, length)
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        refuse(connection, error)
        return
    os.chmod(path, int(mode) & 0o777)
    connection.sendall(struct.pack("<4sI", b"OKAY", 0))


def fetch(connection, path):
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        refuse(connection, error)
        return
    for start in range(0, len(content), 65536):
        chunk = content[start : start + 65536]
        connection.sendall(struct.pack("<4sI", b"DATA", len(chunk)) + chunk)
    connection.sendall(struct.pack("<4sI", b"DONE", 0))


def sync(connection, device):
    while True:
        kind, length = struct.unpack("<4sI", receive(connection, 8))
        if kind == b"QUIT":
            return
        path = device.local(receive(connection, length).decode())
        {b"STAT": send_status, b"SEND": store, b"RECV": fetch}[kind](connection, path)


def serve(connection, device):
    with connection, contextlib.suppress(OSError):
        while True:
            service = receive(connection, int(receive(connection, 4), 16)).decode()
            if not handle(connection, device, service):
                return


def handle(connection, device, service):
    """Serves one request; whether another follows on the same connection."""
    name = service.split(":")[-1]
    if service == "host:version":
        answer(connection, f"{41:04x}")
    elif service in ("host:devices", "host:devices-l"):
        answer(connection, f"{SERIAL}\tdevice\n" if device.present else "")
    elif not device.present:
        answer(connection, f"device '{SERIAL}' not found", b"FAIL")
    elif SERIAL not in service and service.startswith(("host:transport:", "host:tport:serial")):
        answer(connection, f"device '{name}' not found", b"FAIL")
    elif service.startswith(("host:transport", "host:tport")):
        connection.sendall(b"OKAY" + (struct.pack("<Q", 1) if "tport" in service else b""))
        return True
    elif service.endswith(":features"):
        answer(connection, device.features)
    elif service.startswith("shell"):
        connection.sendall(b"OKAY")
        options, _, script = service.partition(":")
        shell(connection, device, script, "v2" in options)
    elif service == "sync:":
        connection.sendall(b"OKAY")
        sync(connection, device)
    else:
        answer(connection, f"unknown service {service}", b"FAIL")
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--features", default="shell_v2,cmd")
    parser.add_argument("--dies-after", type=int, default=1000)
    options = parser.parse_args()
    device = Device(options.root, options.features, options.dies_after)
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection, device), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
