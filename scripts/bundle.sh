#!/bin/sh
# Writes one archive from which OnePerson is installed on a machine without any network: every
# package that requirements.lock names, OnePerson itself with its delivered model pack, the guides, and
# install.sh, which checks everything before it installs.
#
#   scripts/bundle.sh            build/oneperson-VERSION-PLATFORM.tar, for this platform and Python
#   LOCK=FILE scripts/bundle.sh  with the packages of another lock file
#
# The archive is tried before it is named: unpacked, installed into a fresh environment, asked for its version.
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
lock=${LOCK:-requirements.lock}
[ -x "$python" ] || { echo "run 'make setup' first, or set PYTHON" >&2; exit 1; }
case $python in /*) ;; *) python=$PWD/$python ;; esac

version=$("$python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
# Packages with machine code are built for one Python and one kind of machine.
for_python=$("$python" -c 'import sys; print(f"cp{sys.version_info[0]}{sys.version_info[1]}")')
platform=$("$python" -c 'import sysconfig; print(sysconfig.get_platform().replace("-", "_"))')
name=oneperson-$version-$for_python-$platform

mkdir -p build
work=$(mktemp -d "$PWD/build/bundle-XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
bundle=$work/$name
mkdir -p "$bundle/wheels" "$bundle/docs"
pip() { "$python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }

echo "fetching what $lock names"
pip download --no-deps --require-hashes --only-binary :all: --dest "$bundle/wheels" -r "$lock"
echo "building oneperson $version"
mkdir "$work/source"
cp -R pyproject.toml README.md index service scripts models "$work/source"
pip wheel --no-deps --no-build-isolation --no-index --wheel-dir "$bundle/wheels" "$work/source"

cp "$lock" "$bundle/requirements.lock"
cp scripts/install.sh "$bundle/install.sh"
cp CHANGELOG.md "$bundle/"
cp docs/*.md "$bundle/docs/"
echo "$for_python" > "$bundle/PYTHON"
(cd "$bundle" && find . -type f ! -name SHA256SUMS | LC_ALL=C sort | xargs sha256sum > SHA256SUMS)

echo "trying it"
(cd "$bundle" && PYTHON="$python" sh ./install.sh "$work/tried" > "$work/log" 2>&1) || { cat "$work/log" >&2; exit 1; }
rm -rf "$work/tried"

# Always the same bytes for the same files.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$work" -cf "build/$name.tar.part" "$name"
mv "build/$name.tar.part" "build/$name.tar"
(cd build && sha256sum "$name.tar" | tee "$name.tar.sha256")
