# Sourced by the other scripts: makes .venv with everything in it, once, and again only when what it installs has changed.
# Sets $root, and puts the environment first on PATH.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.12 python3.11 python3.10 python3 python; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No suitable Python: looked for 3.12, 3.11 and 3.10 (with venv) as ${PYTHON:+$PYTHON, }python3.12, python3.11, python3.10, python3 and python." >&2
    echo "Install one of them, or name it: PYTHON=/path/to/python $0" >&2
    return 2
}

# The runtime is compiled; without a compiler its tests are skipped, and say why.
install_runtime() {
    local compiler
    for compiler in ${CXX:-} g++ clang++; do
        if command -v "$compiler" >/dev/null; then
            .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable './runtime[images]'
            return
        fi
    done
    echo "No C++ compiler, so the runtime is left out: sudo apt install g++, then rm .venv/installed and run this again." >&2
}

stamp=$(cat setup.cfg pyproject.toml constraints.txt runtime/pyproject.toml runtime/setup.py runtime/src/* | cksum)
if [ "$(cat .venv/installed 2>/dev/null)" != "$stamp" ]; then
    if [ ! -x .venv/bin/python ]; then
        python=$(find_python) || exit 2
        echo "Making .venv with $("$python" --version)"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    echo "Installing into .venv (about 3 GB; a minute or two)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,docs]'
    install_runtime
    echo "$stamp" > .venv/installed
fi
PATH="$root/.venv/bin:$PATH"
