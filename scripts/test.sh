#!/usr/bin/env bash
# Runs the checks and the tests. Options go to pytest: -m slow for the slow tests, -k NAME for some.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# On every processor the same kernels, the faster ones: TensorFlow leaves them switched off on some.
export TF_ENABLE_ONEDNN_OPTS=1
ruff format --check .
ruff check .
mypy
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
NO_MKDOCS_2_WARNING=1 mkdocs build --strict --site-dir "$site" 2>&1 | { grep -vE "^(INFO|WARNING: All log|I0000|To enable)" || true; }
pytest --numprocesses 2 --dist loadgroup "$@"
