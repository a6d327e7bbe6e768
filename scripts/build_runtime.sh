#!/usr/bin/env bash
# Makes the runtime's wheels for 64-bit Linux on x86-64 and ARM, and its source package, in runtime/dist.
# Zig (from pip) compiles for both, against the C library of 2014, with its own C++ library inside.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
glibc=2.17
tools="$root/runtime/build/tools"
dist="$root/runtime/dist"
python=${PYTHON:-python3}

if [ ! -e "$tools/installed" ]; then
    "$python" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check 'ziglang>=0.13' 'setuptools>=77' build
    touch "$tools/installed"
fi

mkdir -p "$dist"
rm -f "$dist"/larq_equalbits_runtime-*
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
(cd "$root/runtime" && cp -r src larq_equalbits_runtime *.toml setup.py MANIFEST.in README.md LICENSE "$scratch")
find "$scratch" -name '*.so' -delete

for machine in x86_64 aarch64; do
    rm -rf "$scratch/build"
    # setup.py takes it apart as a shell does.
    CXX="'$tools/bin/python' -m ziglang c++ -target $machine-linux-gnu.$glibc" \
        "$tools/bin/python" -m build --wheel --no-isolation --outdir "$dist" \
        --config-setting=--build-option=--plat-name=manylinux_${glibc/./_}_$machine "$scratch" >"$scratch/log" 2>&1 ||
        { cat "$scratch/log" >&2; exit 1; }
done
"$tools/bin/python" -m build --sdist --no-isolation --outdir "$dist" "$scratch" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }

for wheel in "$dist"/*.whl; do
    "$tools/bin/python" - "$wheel" "$glibc" <<'PYTHON'
import re, sys, zipfile

wheel, limit = sys.argv[1], tuple(map(int, sys.argv[2].split(".")))
with zipfile.ZipFile(wheel) as content:
    (name,) = [name for name in content.namelist() if name.endswith(".so")]
    library = content.read(name)
needed = max(tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_(\d+\.\d+)", library))
if needed > limit:
    sys.exit(f"{wheel} needs glibc {needed}, more than its name says.")
print(f"{wheel}: library {len(library) / 1000:.0f} kB, needs glibc {'.'.join(map(str, needed))}")
PYTHON
done
ls "$dist"/*.tar.gz
