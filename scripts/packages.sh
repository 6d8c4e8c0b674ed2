# shellcheck shell=bash
# For scripts/test and scripts/bench, after venv.sh: installs the Debian packages of programs that
# this machine lacks, and starts none of their services.

# Where tests and bench look for programs (tests/rig/process.py).
TEST_PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin
POLICY=/usr/sbin/policy-rc.d
MARK='# Written by a script of Entrepot while it installs packages.'

# Prints the packages of those programs that are not there.
missing() {
    local pair
    for pair; do
        if ! PATH=$TEST_PATH type -P "${pair%%:*}" >/dev/null; then printf '%s\n' "${pair#*:}"; fi
    done | sort -u
}

# Prints those of the packages that apt knows: not every release has them all.
known() {
    local package
    for package; do
        if apt-cache show --no-all-versions "$package" >/dev/null 2>&1; then
            printf '%s\n' "$package"
        fi
    done
}

# A daemon that starts when its package is installed would change this machine's network and take
# ports. So no service starts meanwhile (deb-systemd-invoke and invoke-rc.d ask this policy).
forbid_services() {
    allow_services
    local status=0
    if [ -x "$POLICY" ]; then "$POLICY" docker start >/dev/null 2>&1 || status=$?; fi
    [ "$status" != 101 ] || return 0
    trap allow_services EXIT
    trap 'exit 1' HUP INT TERM
    if [ -e "$POLICY" ]; then mv "$POLICY" "$POLICY.entrepot"; fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$MARK" >"$POLICY"
    chmod 755 "$POLICY"
}

# Puts things as they were, also after an earlier run that was killed.
allow_services() {
    if grep -qxF "$MARK" "$POLICY" 2>/dev/null; then rm "$POLICY"; fi
    if [ -e "$POLICY.entrepot" ] && [ ! -e "$POLICY" ]; then mv "$POLICY.entrepot" "$POLICY"; fi
    trap - EXIT HUP INT TERM
}

install_packages() {
    local wanted
    mapfile -t wanted < <(missing "$@")
    [ "${#wanted[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "Not installed, since that takes root and apt-get: ${wanted[*]}"
        return 0
    fi
    say "Installing ${wanted[*]}"
    forbid_services
    # A package list that is too old names files that are gone.
    install_known "${wanted[@]}" || { apt-get -qq update >&2 && install_known "${wanted[@]}"; } ||
        say "apt-get could not install them: what needs them is left out"
    allow_services
}

install_known() {
    local found
    mapfile -t found < <(known "$@")
    [ "${#found[@]}" -gt 0 ] && apt_install "${found[@]}"
}
