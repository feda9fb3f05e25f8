#!/bin/sh
# Set up what `make` needs: Debian packages (as root) and the virtual environment in .venv.
#   bootstrap.sh packages | venv
set -eu
cd "$(dirname "$0")/.."

say() { printf 'pvboot: %s\n' "$*" >&2; }

missing_packages() {
    sed -e 's/#.*//' -e '/^[[:space:]]*$/d' fixtures/debian-packages.txt | while read -r name _why; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$name"
    done
}

have_lists() { apt-cache policy busybox-static 2>/dev/null | grep -q 'Candidate: [0-9]'; }

retry() {
    for pause in 3 10; do
        "$@" && return 0
        say "failed, trying again in $pause s: $*"
        sleep "$pause"
    done
    "$@"
}

# Old lists name versions that the servers have replaced, so a failure refreshes them for the next try.
apt_install() {
    apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@" </dev/null >/dev/null ||
        { apt-get -qq update </dev/null; return 1; }
}

packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "no apt here: install the counterparts of fixtures/debian-packages.txt yourself"
        return 0
    fi
    missing=$(missing_packages)
    if [ "$(id -u)" -ne 0 ]; then
        [ -z "$missing" ] || say "not root, going on without these packages: $missing(apt-get install $missing)"
        have_lists || say "no package lists: 'apt-get update' is needed before real kernels can be fetched"
        return 0
    fi
    export DEBIAN_FRONTEND=noninteractive
    have_lists || retry apt-get -qq update </dev/null || say "apt-get update failed: no network?"
    [ -n "$missing" ] || return 0
    say "installing $missing"
    # Unquoted on purpose: one word a package.
    # shellcheck disable=SC2086
    retry apt_install $missing || say "some packages could not be installed: $missing"
}

pip_install() { .venv/bin/python -m pip install -q --disable-pip-version-check "$@" </dev/null; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    say "Python 3.11 or later not found (found: $(python3 --version 2>&1 || true)); install it or set PYTHON="
    return 1
}

venv() {
    if [ ! -x .venv/bin/python ]; then
        python=$(find_python)
        "$python" -m venv .venv || { say "cannot make .venv: is python3-venv installed?"; rm -rf .venv; return 1; }
    fi
    # The build back end goes into the environment itself: no second download into an isolated one.
    { retry pip_install 'setuptools>=77' wheel && retry pip_install --no-build-isolation -e '.[test]'; } ||
        { say "the Python packages named in pyproject.toml could not be installed (no network?)"; return 1; }
    touch .venv/installed
}

case "${1:-}" in
packages) packages ;;
venv) venv ;;
*) say "usage: bootstrap.sh packages|venv"; exit 2 ;;
esac
