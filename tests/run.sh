#!/usr/bin/env bash
# Format, lint, types, tests: what `make test` and CI run. Ends with pytest's own summary.
set -eu
cd "$(dirname "$0")/.."
ruff format --check .
ruff check .
pyrefly check
exec python -m pytest -n 2 --dist worksteal "$@"
