# The systemd drop-in that sends a daemon's traffic through the proxy. Drop-ins are read in the order
# of their names and the last assignment counts (systemd.unit(5)); docker's manual calls its own
# example http-proxy.conf. So ours is named to be read last.
#
# The variables' names begin with $prefix: k3s gives those that begin with CONTAINERD_ to its
# containerd alone.

NAME=zz-entrepot.conf
LOCAL=localhost,127.0.0.0/8,::1

# What the administrator had set: the environment by all files but our own drop-in.
others() { unit_files | grep -vxF "$dropin" | environment; }

# Refuses where a drop-in of ours would not count, and says what it overrules where it does.
# Go's clients read the lower-case names only where the upper-case ones are unset.
check_order() {
    for variable in reset ${prefix}HTTP_PROXY ${prefix}HTTPS_PROXY; do
        path=$(origin_of "$1" "$variable")
        case $path in
            '') continue ;;
            EnvironmentFile*) die "$path sets $variable, which beats every drop-in: remove it there" ;;
        esac
        last=$(printf '%s\n%s\n' "${path##*/}" "$NAME" | LC_ALL=C sort | tail -n 1)
        if [ "$last" != "$NAME" ] && [ "${path%.service}" = "$path" ]; then
            die "$path is read after $NAME and would overrule it: rename it"
        fi
    done
    for variable in HTTPS_PROXY HTTP_PROXY https_proxy http_proxy; do
        variable=$prefix$variable
        path=$(origin_of "$1" "$variable")
        [ -n "$path" ] || continue
        say "$path sets $variable=$(value_of "$1" "$variable" | redact)."
        say "  It stays as it is, but does not count while $NAME is there, which is read later."
        say "  If the proxy itself needs it to get out, start it with --upstream-proxy."
        break
    done
}

# The union of two comma-separated lists, in order.
merge() { say "$1,$2" | tr -d ' ' | tr ',' '\n' | awk 'NF && !seen[$0]++' | paste -s -d , -; }

# One assignment as systemd reads it: a percent sign is doubled, quotes and backslashes escaped.
line() { printf 'Environment="%s"\n' "$(say "$1=$2" | sed 's/[\\"]/\\&/g; s/%/%%/g')"; }

# What the drop-in is for $proxy and $exceptions.
content() {
    say '# Written for Entrepôt; "docker-proxy.sh uninstall" or "setup --uninstall" removes it.'
    say '[Service]'
    line "${prefix}HTTP_PROXY" "$proxy"
    line "${prefix}HTTPS_PROXY" "$proxy"
    line "${prefix}NO_PROXY" "$exceptions"
}

# Sets exceptions: what $no_proxy says, and what the unit's NO_PROXY had by the environment $1.
keep_exceptions() {
    had=$(value_of "$1" NO_PROXY)
    had=${had:-$(value_of "$1" no_proxy)}
    [ -z "$prefix" ] || had=$had,$(value_of "$1" "${prefix}NO_PROXY")
    exceptions=$(merge "$no_proxy" "$had")
}
