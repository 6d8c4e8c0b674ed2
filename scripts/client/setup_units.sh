# Engines that are services of systemd: a drop-in for each, a restart where the running one lacks it.

# All that may have a drop-in of ours.
UNITS='docker containerd buildkit buildkitd k3s k3s-agent rke2-server rke2-agent'
# What the pods and services of k3s have unless it is told otherwise (docs.k3s.io, "Networking").
CLUSTER=.svc,.cluster.local,10.42.0.0/16,10.43.0.0/16

# Sets dropin and prefix for $unit, and exempt, what is never asked for by the proxy.
describe_unit() {
    dropin=/etc/systemd/system/$unit.service.d/$NAME
    prefix='' exempt=$LOCAL
    case $unit in k3s* | rke2*) prefix=CONTAINERD_ exempt=$LOCAL,$CLUSTER ;; esac
}

# What the file $1 of our name exempts already; nothing where --no-proxy says it anew.
exceptions_of() {
    if [ ! -f "$1" ] || { [ -n "$no_proxy" ] && is_ours "$1"; }; then return 0; fi
    value_of "$(say "$1" | environment)" "${prefix}NO_PROXY"
}

place_unit() {
    describe_unit
    before=$(others)
    said=$(check_order "$before") || exit 1
    [ "$planning" = 0 ] || [ -z "$said" ] || say "$said"
    asked=$no_proxy
    no_proxy=$(merge "$exempt" "$asked,$(exceptions_of "$dropin")")
    keep_exceptions "$before"
    no_proxy=$asked
    mode=644
    [ -z "$user" ] || mode=600
    content >"$work/dropin"
    place "$dropin" $mode <"$work/dropin"
    if [ "$planning" = 1 ]; then
        say "      ${prefix}HTTPS_PROXY: $(say "$proxy" | redact); NO_PROXY: $exceptions"
        report_exempt "$exceptions" '' || true
        pid=$(main_pid "$unit")
        if [ -n "$pid" ] && [ "$restart" = 1 ]; then say "      then: systemctl restart $unit"; fi
        [ "$unit" != docker ] || report_running
    fi
}

# A restart of docker's daemon ends what runs, unless it is told to let it live.
report_running() {
    [ -S "$DOCKER_SOCKET" ] && command -v curl >/dev/null || return 0
    curl -q -sS --max-time 10 --unix-socket "$DOCKER_SOCKET" http://localhost/info 2>/dev/null \
        >"$work/info" || return 0
    running=$(sed -n 's/.*"ContainersRunning":\([0-9]*\).*/\1/p' "$work/info")
    if [ "${running:-0}" -gt 0 ] && ! grep -q '"LiveRestoreEnabled":true' "$work/info"; then
        say "      a restart of docker ends its $running running containers; those with a restart policy"
        say "      come back. With --no-restart you choose the time."
    fi
}

has_systemd() { [ -d /run/systemd/system ] && command -v systemctl >/dev/null; }

reload_systemd() {
    ! has_systemd || systemctl daemon-reload
}

# Whether the running daemon $pid of $unit lacks what the files say, or is older than the certificate.
is_stale() {
    now=$(unit_files | environment)
    for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        variable=$prefix$variable
        [ "$(value_of "$now" "$variable")" = "$(variable_of "$pid" "$variable")" ] || return 0
    done
    is_older_than_certificates "$pid"
}

restart_unit() {
    describe_unit
    reload_systemd
    pid=$(main_pid "$unit")
    if [ -z "$pid" ]; then
        say "$unit does not run: it has this when it is started."
    elif ! is_stale; then
        say "$unit has all of it already: not restarted."
    elif [ "$restart" = 0 ] || ! has_systemd; then
        late="$late $unit"
        say "$unit is to be restarted: systemctl restart $unit"
    else
        say "Restarting $unit"
        systemctl restart "$unit" || die "systemctl restart $unit failed: see journalctl -u $unit. \
To undo all of this: curl -fsS http://$served/setup | sudo sh -s -- --uninstall"
    fi
}

# Says what docker-proxy.sh check says, each line set in.
prove_unit() {
    case " ${late-} " in *" $unit "*) return ;; esac
    describe_unit
    if [ "$action" = install ] && [ -z "$(main_pid "$unit")" ]; then
        say "$unit: does not run, so nothing is proven yet; --check says it later"
        return
    fi
    asked=$image
    [ "$unit" = docker ] || image=''
    checked=0 proven=1
    (check) >"$work/checked" 2>&1 || checked=$?
    image=$asked
    say "$unit:"
    sed 's/^/  /' "$work/checked"
    return $checked
}

displace_unit() {
    describe_unit
    [ -f "$dropin" ] || return 0
    displace "$dropin"
    reload="$reload $unit"
}
