#!/bin/sh
# Made by scripts/build-client-scripts from scripts/client/docker-proxy.sh.in: change it there.
#
# Sends docker's (or containerd's) traffic through an Entrepôt proxy, says whether it goes there,
# or undoes it, by one systemd drop-in of its own. It never edits another file and never restarts
# a daemon.
#
# Drop-ins are read in the order of their names and the last assignment counts (systemd.unit(5));
# docker's manual calls its own example http-proxy.conf. So ours is named to be read last.

set -eu
umask 022

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}
need_root() { [ "$(id -u)" = 0 ] || die "$1 must be run as root"; }

NAME=zz-entrepot.conf
LOCAL=localhost,127.0.0.0/8,::1

usage() {
    cat >&2 <<END
usage: $0 install PROXY [--unit UNIT] [--no-proxy LIST]
       $0 check [PROXY] [--unit UNIT]
       $0 uninstall [PROXY] [--unit UNIT]

PROXY is host, host:port or http://[user:password@]host:port; the port is 3128 unless given.
UNIT is docker (the default), containerd or another service, such as k3s.

install    writes $NAME for the unit: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, which is
           $LOCAL, or LIST, and what the unit's NO_PROXY had before.
check      says what is set, whether the daemon runs with it and whether the proxy answers;
           exit status 1 where something is wrong.
uninstall  removes what install wrote; with PROXY only if it names that proxy.
END
    exit 2
}

# The address as it is given: host, host:port or http://host:port. Where it is none of these, the
# message quotes $shown and says what is $wanted.

# Sets rest to the text $1 without http:// and without a slash at its end.
strip_scheme() {
    case $1 in
        http://*) rest=${1#http://} && rest=${rest%/} ;;
        *://*) die "got '$shown', $wanted" ;;
        *) rest=$1 ;;
    esac
}

# Sets host and port from $rest; the port is $1 unless it says one.
split_host_port() {
    case $rest in
        \[*\]:*) host=${rest%:*} && port=${rest##*:} ;;
        \[*\]) host=$rest && port=$1 ;;
        *:*:*) die "got '$shown', $wanted; an IPv6 address in brackets" ;;
        *:*) host=${rest%:*} && port=${rest##*:} ;;
        *) host=$rest && port=$1 ;;
    esac
    case $host in
        \[*[!0-9A-Fa-f:.]*\] | '') die "got '$shown', $wanted" ;;
        \[*\]) ;;
        -* | *[!A-Za-z0-9._-]*) die "got '$shown', $wanted" ;;
    esac
    case $port in '' | *[!0-9]* | ??????*) die "got port '$port', want 1 to 65535" ;; esac
    if [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then die "got port '$port', want 1 to 65535"; fi
}

# What systemd gives a unit as its environment.

# The files that systemd reads for the unit, in its order; the first folder wins for each name.
unit_files() {
    folders='/etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system
        /usr/lib/systemd/system /lib/systemd/system'
    for folder in $folders; do
        if [ -e "$folder/$unit.service" ]; then
            say "$folder/$unit.service"
            break
        fi
    done
    for kind in "$unit.service.d" service.d; do
        for folder in $folders; do
            for path in "$folder/$kind"/*.conf; do
                [ ! -e "$path" ] || printf '%s\t%s\n' "${path##*/}" "$path"
            done
        done
    done | awk -F '\t' '!seen[$1]++' | LC_ALL=C sort | cut -f 2
}

# Prints "variable value file" (tabs between) of each proxy variable that the files named on stdin
# set, as systemd resolves them: the last Environment= counts, and EnvironmentFile= beats them all;
# "reset" is the last file that empties the list.
environment() {
    # shellcheck disable=SC2016 # the dollars are awk's
    awk '
        # Splits at blanks outside quotes, and takes quotes and escapes away.
        function assign(text, file,    i, c, quote, word, inside) {
            for (i = 1; i <= length(text) + 1; i++) {
                c = substr(text, i, 1)
                if (c == "\\" && quote != "\047") { word = word substr(text, ++i, 1); inside = 1 }
                else if (quote == "" && (c == "\"" || c == "\047")) { quote = c; inside = 1 }
                else if (c != "" && c == quote) quote = ""
                else if (c == "" || (quote == "" && (c == " " || c == "\t"))) {
                    if (inside) keep(word, file)
                    word = ""; inside = 0
                } else { word = word c; inside = 1 }
            }
        }
        function keep(word, file,    at) {
            at = index(word, "=")
            if (at > 1) { value[substr(word, 1, at - 1)] = substr(word, at + 1)
                          origin[substr(word, 1, at - 1)] = file }
        }
        function directive(line, file,    name, text) {
            name = substr(line, 1, index(line, "=") - 1); sub(/[ \t]+$/, "", name)
            text = substr(line, index(line, "=") + 1); gsub(/^[ \t]+|[ \t]+$/, "", text)
            if (name == "Environment" && text == "") {
                split("", value); split("", origin); value["reset"] = "-"; origin["reset"] = file
            } else if (name == "Environment") { gsub(/%%/, "%", text); assign(text, file) }
            else if (name == "EnvironmentFile" && text == "") count = 0
            else if (name == "EnvironmentFile") { sub(/^-/, "", text); extra[++count] = text }
        }
        {
            file = $0; service = 0; pending = ""
            while ((getline line < file) > 0) {
                if (line ~ /^[ \t]*[#;]/) continue
                if (line ~ /\\$/) { pending = pending substr(line, 1, length(line) - 1) " "; continue }
                line = pending line; pending = ""; sub(/^[ \t]+/, "", line)
                if (line ~ /^\[/) service = (line ~ /^\[Service\]/)
                else if (service && index(line, "=")) directive(line, file)
            }
            close(file)
        }
        END {
            for (i = 1; i <= count; i++)
                while ((getline line < extra[i]) > 0)
                    if (line ~ /^[A-Za-z_]+=/) {
                        text = substr(line, index(line, "=") + 1); gsub(/^["\047]|["\047]$/, "", text)
                        keep(substr(line, 1, index(line, "=")) text, "EnvironmentFile " extra[i])
                    }
            split("reset HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy", names, " ")
            for (i = 1; i in names; i++)
                if (names[i] in value)
                    printf "%s\t%s\t%s\n", names[i], value[names[i]], origin[names[i]]
        }'
}

# The value of variable $2 in the lines $1 of environment.
value_of() { say "$1" | awk -F '\t' -v name="$2" '$1 == name { print $2 }'; }
origin_of() { say "$1" | awk -F '\t' -v name="$2" '$1 == name { print $3 }'; }

# fetch URL FILE SECONDS TRIES: gets the URL into the file. TRIES is for GNU's wget alone: curl and
# busybox's wget try once. The proxy is asked directly: a proxy setting of this machine is not for it.
fetch() {
    unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
    if command -v curl >/dev/null; then
        curl -q -fsS --noproxy '*' --max-time "$3" -o "$2" "$1"
    else
        case $(wget --version 2>&1) in
            *GNU*) wget -q --no-config --no-proxy -t "$4" -T "$3" -O "$2" "$1" ;;
            # busybox 1.35's -T crashes.
            *) wget -q -O "$2" "$1" ;;
        esac
    fi
}

# replace_file FILE MODE: makes stdin the content of the file in one step, so that nobody reads half.
replace_file() {
    new=$(mktemp "${1%/*}/.entrepot.XXXXXX")
    cat >"$new"
    chmod "$2" "$new"
    mv -f "$new" "$1"
}

# The process of the unit $1 as systemd knows it: 0 or nothing where it does not run.
main_pid() { systemctl show -p MainPID "$1" 2>/dev/null | sed -n 's/^MainPID=//p'; }

# Does what $action says: install_file, check or uninstall_file, which each script has of its own.
# Install needs the address ($given) of what the daemon shall use.
run_action() {
    case $action in
        install) [ -n "$given" ] || usage ;;
        check)
            check
            return
            ;;
        uninstall) ;;
        *) usage ;;
    esac
    need_root "$action"
    "${action}_file"
}

# Passwords are for the drop-in alone.
redact() { sed 's#^\([a-z0-9]*://\)\{0,1\}.*@#\1***@#'; }

# Sets address (host:port) and proxy (the URL) from PROXY.
parse_proxy() {
    wanted="want host, host:port or http://[user:password@]host:port"
    shown=$(say "$1" | redact)
    strip_scheme "$1"
    user=''
    case $rest in *@*) user=${rest%@*} && rest=${rest##*@} ;; esac
    # The characters of RFC 3986 section 3.2.1, and whole percent-encoded bytes.
    case $user in
        *[!A-Za-z0-9._~!\$\&\'\(\)*+,\;=:%-]* | *% | *%? | *%[!0-9A-Fa-f]* | *%?[!0-9A-Fa-f]*)
            die "the user or the password in '$shown' must be percent-encoded"
            ;;
    esac
    split_host_port 3128
    address=$host:$port
    proxy=http://${user:+$user@}$address
}

# What the administrator had set: the environment by all files but our own drop-in.
others() { unit_files | grep -vxF "$dropin" | environment; }

# Refuses where a drop-in of ours would not count, and says what it overrules where it does.
# Go's clients read the lower-case names only where the upper-case ones are unset.
check_order() {
    for variable in reset HTTP_PROXY HTTPS_PROXY; do
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
    say '# Written by docker-proxy.sh of Entrepôt; "docker-proxy.sh uninstall" removes it.'
    say '[Service]'
    line HTTP_PROXY "$proxy"
    line HTTPS_PROXY "$proxy"
    line NO_PROXY "$exceptions"
}

install_file() {
    before=$(others)
    check_order "$before"
    had=$(value_of "$before" NO_PROXY)
    exceptions=$(merge "$no_proxy" "${had:-$(value_of "$before" no_proxy)}")
    mkdir -p "${dropin%/*}"
    if [ -f "$dropin" ] && content | cmp -s - "$dropin"; then
        say "$dropin is as it should be already."
    else
        mode=644
        [ -z "$user" ] || mode=600
        content | replace_file "$dropin" $mode
        say "Wrote $dropin"
    fi
    say "  HTTP_PROXY and HTTPS_PROXY: $(say "$proxy" | redact)"
    say "  NO_PROXY: $exceptions"
    if [ -n "$user" ]; then
        say "  Only root can read the file; \`systemctl show $unit\` shows the password to every user."
    fi
    reload
}

reload() {
    if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
        systemctl daemon-reload
        say "Next: systemctl restart $unit"
    else
        say "systemd is not running here. Next: systemctl daemon-reload && systemctl restart $unit"
    fi
}

uninstall_file() {
    if [ ! -f "$dropin" ]; then
        say "Nothing to remove."
        return
    fi
    if [ -n "$proxy" ]; then
        now=$(say "$dropin" | environment)
        now=$(value_of "$now" HTTPS_PROXY)
        [ "$now" = "$proxy" ] || die "$dropin names $(say "$now" | redact): left as it is"
    fi
    rm -f "$dropin"
    rmdir "${dropin%/*}" 2>/dev/null || true
    say "Removed $dropin"
    reload
}

check() {
    wrong=0
    now=$(unit_files | environment)
    set_to=$(value_of "$now" HTTPS_PROXY)
    if [ -z "$set_to" ]; then
        say "$unit: no HTTPS_PROXY is set"
        return 1
    fi
    for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        say "$variable=$(value_of "$now" "$variable" | redact) ($(origin_of "$now" "$variable"))"
    done
    if [ "$(origin_of "$now" HTTPS_PROXY)" != "$dropin" ]; then
        say "$unit: HTTPS_PROXY is not set by $dropin"
        wrong=1
    fi
    if [ -n "$proxy" ] && [ "$proxy" != "$set_to" ]; then
        say "$unit: HTTPS_PROXY is not $(say "$proxy" | redact)"
        wrong=1
    fi
    check_daemon || wrong=1
    parse_proxy "${proxy:-$set_to}"
    if fetch "http://$address/healthz" /dev/null 10 1; then
        say "http://$address/healthz: answers"
    else
        say "http://$address/healthz: does not answer"
        wrong=1
    fi
    return $wrong
}

# A daemon has the environment that it was started with, whatever the files say now.
check_daemon() {
    pid=$(main_pid "$unit")
    case $pid in
        '' | 0) say "$unit: not running under systemd" ;;
        *)
            if [ ! -r "/proc/$pid/environ" ]; then
                say "$unit: run this as root to see what the running daemon has"
            elif tr '\0' '\n' <"/proc/$pid/environ" | grep -qxF "HTTPS_PROXY=$set_to"; then
                say "$unit: the running daemon has it"
            else
                say "$unit: the running daemon does not have it: systemctl restart $unit"
                return 1
            fi
            ;;
    esac
}

main() {
    [ $# -gt 0 ] || usage
    action=$1
    shift
    given='' unit=docker no_proxy=$LOCAL proxy='' user=''
    while [ $# -gt 0 ]; do
        case $1 in
            --unit | --no-proxy)
                [ $# -gt 1 ] || usage
                if [ "$1" = --unit ]; then unit=${2%.service}; else no_proxy=$2; fi
                shift
                ;;
            -* | '') usage ;;
            *)
                [ -z "$given" ] || usage
                given=$1
                ;;
        esac
        shift
    done
    case $unit in
        '' | [.-]* | *[!A-Za-z0-9@._-]*) die "got unit '$unit', want a service such as docker" ;;
    esac
    case $no_proxy in
        *[!A-Za-z0-9.,:/*_\ \[\]-]*) die "got --no-proxy '$no_proxy', want hosts between commas" ;;
    esac
    dropin=/etc/systemd/system/$unit.service.d/$NAME
    [ -z "$given" ] || parse_proxy "$given"
    run_action
}

main "$@"
