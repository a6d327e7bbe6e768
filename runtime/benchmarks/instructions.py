"""Counts the instructions that a layer takes on an ARM processor, under qemu's emulation.

    python benchmarks/instructions.py [--cpu cortex-a72] [--json FILE]

It needs `qemu-aarch64` and an aarch64 compiler (Debian: qemu-user, g++-aarch64-linux-gnu). Two numbers of runs are
counted and their difference is divided, so starting the program does not count.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parent / "src"
COMPILER = "aarch64-linux-gnu-g++"
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-pthread", "-static", f"-I{SOURCES}")
# name, kind, (height, width, channels, filters, window), the most instructions that it may take
LAYERS = (
    ("3x3, 128 to 128 channels, 16x16", "binary", (16, 16, 128, 128, 3), 1_210_000),
    ("the same, pruned", "pruned", (16, 16, 128, 128, 3), 1_550_000),
    ("the same, and signs of its output", "quantized", (16, 16, 128, 128, 3), None),
    ("3x3, 64 to 64 channels, 32x32", "binary", (32, 32, 64, 64, 3), None),
    ("3x3, 256 to 256 channels, 8x8", "binary", (8, 8, 256, 256, 3), None),
    ("1x1, 256 to 256 channels, 14x14", "binary", (14, 14, 256, 256, 1), None),
)


def plugin(folder: Path) -> Path:
    """Compiles qemu's plugin for this machine into a folder."""
    library = folder / "count.so"
    host = next(name for name in ("gcc", "clang", "cc") if shutil.which(name))
    subprocess.run(
        [host, "-shared", "-fPIC", "-O2", HERE / "count_instructions.c", "-o", library], check=True
    )
    return library


def build(folder: Path) -> Path:
    """Compiles the layers for ARM into a folder."""
    program = folder / "layers"
    sources = sorted(path for path in SOURCES.glob("*.cc") if path.name != "delegate.cc")
    subprocess.run([COMPILER, *FLAGS, HERE / "layers.cc", *sources, "-o", program], check=True)
    return program


def count(counter: Path, command: list[str], cpu: str) -> int:
    """Instructions of one run of a program."""
    done = subprocess.run(
        ["qemu-aarch64", "-cpu", cpu, "-plugin", str(counter), *command],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"^instructions (\d+)$", done.stderr, re.M)
    if found is None:
        raise SystemExit(f"qemu-aarch64 printed no count: {done.stderr.strip()}")
    return int(found.group(1))


def measure(cpu: str) -> list[dict]:
    """Instructions a run for every layer."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        counter, program = plugin(Path(folder)), build(Path(folder))
        for name, kind, sizes, most in LAYERS:

            def runs(times: int, kind: str = kind, sizes: tuple[int, ...] = sizes) -> int:
                return count(counter, [str(program), kind, str(times), *map(str, sizes)], cpu)

            rows.append({"layer": name, "instructions": (runs(12) - runs(2)) // 10, "most": most})
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; exit status 1 where a layer takes more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", default="cortex-a72", help="processor to emulate (default: cortex-a72)")
    parser.add_argument("--json", type=Path, help="file to write the rows to")
    options = parser.parse_args(arguments)
    missing = [name for name in ("qemu-aarch64", COMPILER) if shutil.which(name) is None]
    if missing:
        print(
            f"instructions.py: missing {' and '.join(missing)}: apt install qemu-user g++-aarch64-linux-gnu"
        )
        return 2
    rows = measure(options.cpu)
    print(f"{'layer':34} {'instructions':>12} {'at most':>12}")
    for row in rows:
        print(f"{row['layer']:34} {row['instructions']:12,} {row['most'] or '':>12}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["most"] is not None and row["instructions"] > row["most"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
