#!/bin/sh
# Installs OnePerson from an unpacked bundle, without any network and without root.
#
#   sh install.sh DIRECTORY          a new or empty one; the command is then DIRECTORY/bin/oneperson
#   PYTHON=/path/to/python3.11 sh install.sh DIRECTORY
#
# Every file is compared with SHA256SUMS, and every package with the hash in requirements.lock.
# Compare SHA256SUMS itself with what whoever made the bundle told you by another way.
set -eu

target=${1:?"name the directory to install into: sh install.sh /opt/oneperson"}
case $target in /*) ;; *) target=$PWD/$target ;; esac
cd "$(dirname "$0")"
wanted=$(cat PYTHON)

if [ -e "$target" ] && [ -n "$(ls -A "$target")" ]; then
    echo "$target is not empty: install beside it and move the service over (docs/operations.md, Upgrading)" >&2
    exit 1
fi

sha256sum --quiet --check SHA256SUMS || {
    echo "the bundle is damaged or was changed; nothing was installed" >&2
    exit 1
}

tag='import sys, venv, ensurepip; print(f"cp{sys.version_info[0]}{sys.version_info[1]}")'
minor=${wanted#cp3}
for python in ${PYTHON:-"python3.$minor" python3 python}; do
    [ "$("$python" -c "$tag" 2>/dev/null)" = "$wanted" ] && break
    python=
done
[ -n "$python" ] || {
    echo "this bundle needs Python 3.$minor with its venv module; set PYTHON to where it is" >&2
    exit 1
}

trap 'rm -rf "$target"' INT TERM
install() { "$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-index --no-deps "$@"; }
{
    "$python" -m venv "$target" &&
    install --find-links wheels --require-hashes -r requirements.lock &&
    install wheels/oneperson-*.whl &&
    "$target/bin/oneperson" --version
} || {
    rm -rf "$target"
    echo "the installation failed; $target was removed" >&2
    exit 1
}
echo "installed; $target/bin/oneperson doctor tells what is missing before the first start"
