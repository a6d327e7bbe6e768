#!/usr/bin/env bash
# Trains conv2 on the digits with bi_half, ships it as a verified .tflite, and prints what happened.
# Options are those of scripts/demo.py (see --help).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec python scripts/demo.py "$@"
