#!/bin/sh
# Rewrites the three lock files from pyproject.toml: names, versions and hashes
# of the whole closure for every platform, and no address they came from.
#
#   scripts/lock.sh                 newest versions that pyproject.toml allows
#   scripts/lock.sh NAME NAME ...   only these are moved, the rest stays
#
# opencv-python is left out: insightface asks for it, and it would overwrite the
# files of opencv-python-headless, which is the one that is used (decision 0007).
set -eu

UV_VERSION=0.13.9

cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || { echo "run 'make setup' first, or set PYTHON" >&2; exit 1; }

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT INT TERM
"$python" -m venv "$tools/venv"
"$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"

compile() { # source, file to write, further options
    source=$1 target=$2
    shift 2
    "$tools/venv/bin/uv" pip compile "$source" --quiet --universal --python-version 3.11 \
        --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
        --no-emit-package opencv-python -o "$target" "$@"
}

if [ $# -eq 0 ]; then
    set -- --upgrade
else
    for name; do
        set -- "$@" --upgrade-package "$name"
        shift
    done
fi
compile pyproject.toml requirements.lock "$@"
compile pyproject.toml requirements-dev.lock --group dev -c requirements.lock "$@"
printf 'setuptools>=77\n' | compile - requirements-build.lock "$@"

if grep -n '://' requirements*.lock; then
    echo "a lock file holds an address" >&2
    exit 1
fi
