#!/usr/bin/env bash
# Proves each supported TensorFlow: makes a fresh environment for it, installs the package with it, and runs
# scripts/compatibility.py (train, save, load, convert, verify). Usage: scripts/compatibility.sh [VERSION ...]
# PYTHON=python3.13 scripts/compatibility.sh 2.21.0 does so with another Python.
# Needs about 3 GB of disk at a time and a minute or two a version.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
base=${PYTHON:-$(python -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))')}
versions=("$@")
[ $# -gt 0 ] || versions=(2.15.1 2.16.2 2.17.1 2.18.1 2.21.0)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
for version in "${versions[@]}"; do
    minor=${version%.*}
    rm -rf "$folder/env"
    "$base" -m venv "$folder/env"
    # The pins are those of the newest TensorFlow: an older one chooses its own companions.
    if "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
        "tensorflow==$version" "tf-keras==$minor.*" "setuptools<81" ".[deploy]" \
        && "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps larq \
        && (cd "$folder" && "$folder/env/bin/python" "$root/scripts/compatibility.py"); then
        echo "TensorFlow $version: works"
    else
        echo "TensorFlow $version: FAILS"
        failed=1
    fi
done
exit $failed
