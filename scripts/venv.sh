# shellcheck shell=bash
# For scripts/run, scripts/test and scripts/bench: finds a Python and keeps the virtual environments of a checkout.
#
# An environment is made once and filled again only when pyproject.toml has changed. A mark in it
# says that it is being worked on, so that one whose making was interrupted is made anew.

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
unset PYTHONHOME PYTHONPATH

say() { printf '%s\n' "$*" >&2; }
die() {
    say "scripts/${0##*/}: $*"
    exit 1
}

# Prints every path there is for a Python named $1, in PATH and then among pyenv's; a shim in PATH
# may be there without the version that it stands for.
pythons() {
    type -aP "$1" || true
    local path
    for path in "${PYENV_ROOT:-${HOME:-/root}/.pyenv}"/versions/*/bin/"$1"; do
        if [ -x "$path" ]; then printf '%s\n' "$path"; fi
    done | sort -rV
}

# Whether the Python $1 runs, is new enough and can import the modules $2.
runs() {
    "$1" -c "import sys, $2; sys.exit(sys.version_info < (3, 11))" </dev/null >/dev/null 2>&1
}

# Whether the user of a service could run the Python $1. Only root's own may lie where nobody else can
# read, as below /root; of a checkout that lies there too nothing is asked.
is_for_all() {
    [ "$(id -u)" != 0 ] || "$1" - "$1" "$root" <<'END'
import os, ssl, sys

def is_open(path):
    path = os.path.realpath(path)
    folders = [path] if os.path.isdir(path) else []
    if not folders and not os.stat(path).st_mode & 0o004:
        return False
    while path != "/":
        path = os.path.dirname(path)
        folders.append(path)
    return all(os.stat(folder).st_mode & 0o001 for folder in folders)

python, checkout = sys.argv[1:]
used = (os.path.dirname(python), python, sys.executable, os.__file__, ssl.__file__)
sys.exit(is_open(checkout) and not all(map(is_open, used)))
END
}

# Prints the path of the first Python of these names that can make an environment. With for_all=1,
# one that only root can read comes last.
find_python() {
    local name path closed=
    for name; do
        while IFS= read -r path; do
            runs "$path" "ssl, sqlite3, venv, ensurepip" || continue
            if [ -z "${for_all:-}" ] || is_for_all "$path"; then
                [ -z "$closed" ] || say "Not with $closed: only root can read it, no service of another user"
                printf '%s\n' "$path"
                return
            fi
            closed=${closed:-$path}
        done < <(pythons "$name")
    done
    [ -n "$closed" ] || return 1
    say "Only root can read $closed: as a service, the proxy has to run as root, or needs another Python"
    printf '%s\n' "$closed"
}

# Debian splits what makes environments from its Python. Prints the package of a Python of these
# names that lacks no more than that.
venv_package() {
    local name path
    for name; do
        while IFS= read -r path; do
            if runs "$path" "ssl, sqlite3" && command -v apt-get >/dev/null; then
                "$path" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])'
                return
            fi
        done < <(pythons "$name")
    done
    return 1
}

# Prints a Python of these names, with the help of apt where that is all it takes; or dies.
need_python() {
    find_python "$@" && return
    local package
    package=$(venv_package "$@") ||
        die "no Python 3.11 or newer: install python3.13, python3.12 or python3.11"
    [ "$(id -u)" = 0 ] || die "this Python cannot make environments: sudo apt-get install $package"
    say "Installing $package"
    apt_install "$package" || { apt-get -qq update >&2 && apt_install "$package"; } ||
        die "apt-get install $package failed"
    find_python "$@" || die "no Python that works, even with $package"
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -qq -y --no-install-recommends --no-remove "$@" </dev/null >/dev/null
}

# Whether the environment $1 can be used as it is.
is_whole() {
    [ ! -e "$1/.unfinished" ] &&
        "$1/bin/python" -c 'import sys, pip; sys.exit(sys.prefix == sys.base_prefix)' \
            </dev/null >/dev/null 2>&1
}

# Prints what an environment was filled from: another checkout or other requirements need it again.
source_of() {
    printf '%s\n' "$root"
    cat "$root/pyproject.toml"
}

# prepare FOLDER EXTRAS NAME...: makes the environment FOLDER of this checkout by a Python of one of
# these names, with the project and its EXTRAS ("" or "test") in it.
prepare() {
    {
        # Two scripts at once: the second waits, and finds it done.
        if command -v flock >/dev/null; then flock 9; fi
        _prepare "$@"
    } 9<"$root"
}

_prepare() {
    local folder=$root/$1 extras=$2 stamp=$root/$1/.installed${2:+-$2} python
    shift 2
    if ! is_whole "$folder"; then
        if [ -e "$folder" ] && [ ! -w "$folder" ]; then
            die "$folder is not yours, and you cannot run its Python: remove it, or run this as its owner"
        fi
        python=$(need_python "$@")
        say "Making ${folder##*/} with $("$python" -V); the first time takes a minute"
        rm -rf "$folder"
        mkdir "$folder"
        : >"$folder/.unfinished"
        "$python" -m venv "$folder" >&2 || die "$python -m venv failed"
    else
        if [ -n "${for_all:-}" ] && ! is_for_all "$folder/bin/python"; then
            say "Only root can read the Python of $folder: for a service of another user, remove it and start this again"
        fi
        if [ -x "$folder/bin/entrepot" ] && source_of | cmp -s - "$stamp"; then return; fi
    fi
    : >"$folder/.unfinished"
    "$folder/bin/python" -m pip install -qq --disable-pip-version-check \
        -e "$root${extras:+[$extras]}" >&2 || die "pip could not fill ${folder##*/}: see above"
    # A service may not write below a checkout, and would compile the sources at each of its starts.
    "$folder/bin/python" -m compileall -q "$root/addon" "$root/ca" >&2 || true
    source_of | tee "$stamp" >"$folder/.installed"
    rm "$folder/.unfinished"
}
