#!/bin/sh
# Made by scripts/build-client-scripts from scripts/client/containerd-mirror.sh.in: change it there.
#
# Makes an Entrepôt mirror the first place where containerd looks for images of any registry, says
# whether it is, or undoes it, by one hosts.toml of its own. Without a line `server` in it, containerd
# goes to the registry itself where the mirror is down or does not have an image.
#
# It never edits containerd's config.toml: the daemon of a node does not start with a wrong one, and
# up to containerd 1.7 a file of `imports` replaces a whole plugin's settings instead of adding to
# them. It says what to add.

set -eu
umask 022

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "${program:-${0##*/}}" "$*" >&2
    exit 1
}
need_root() { [ "$(id -u)" = 0 ] || die "$1 must be run as root"; }

# A command line that makes no sense.
misuse() {
    usage >&2
    exit 2
}

# Shows the usage and ends, where one of the words asks for it.
help_if_asked() {
    for word; do
        case $word in -h | --help) usage && exit ;; esac
    done
}

CONFIG=/etc/containerd/config.toml
# The names of the CRI plugin in the versions of the file: short, whole, and of containerd 2.
CRI='["'"'"'](cri|io[.]containerd[.]grpc[.]v1[.]cri|io[.]containerd[.]cri[.]v1[.]images)["'"'"']'
CERTS=/etc/containerd/certs.d
MARK='# Written by containerd-mirror.sh of Entrepôt; "containerd-mirror.sh uninstall" removes it.'

usage() {
    cat <<END
usage: $0 install MIRROR [--hosts-dir DIR] [--config FILE]
       $0 check [MIRROR] [--hosts-dir DIR] [--config FILE]
       $0 uninstall [MIRROR] [--hosts-dir DIR]

MIRROR is host, host:port or http://host:port; the port is 5000 unless given.

install    writes _default/hosts.toml into DIR ($CERTS unless given), and says what
           FILE ($CONFIG unless given) lacks; exit status 1 while containerd does not read it.
check      says what is set, whether containerd reads it and whether the mirror answers;
           exit status 1 where something is wrong.
uninstall  removes what install wrote; with MIRROR only if it names that mirror.
END
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

# Prints "key value" (a tab between) of what settings in TOML on stdin say, such as containerd's or
# podman's, sections and quotes resolved: plugins.io.containerd.grpc.v1.cri.registry.config_path "/etc/containerd/certs.d".
settings() {
    # shellcheck disable=SC2016 # the dollars are awk's
    awk '
        function plain(text) { gsub(/["\047 \t]/, "", text); return text }
        /^[ \t]*(#|$)/ { next }
        /^[ \t]*\[/ {
            section = $0
            sub(/^[ \t]*\[+/, "", section); sub(/\].*/, "", section)
            section = plain(section) "."
            next
        }
        index($0, "=") {
            key = plain(substr($0, 1, index($0, "=") - 1))
            value = substr($0, index($0, "=") + 1)
            while (value ~ /^[ \t]*\[[^]]*$/ && (getline more) > 0) value = value " " more
            gsub(/^[ \t]+|[ \t]+$/, "", value)
            if (value !~ /^["\047]/) sub(/[ \t]*#.*/, "", value)
            printf "%s%s\t%s\n", section, key, value
        }'
}

# What containerd itself makes of the file, its defaults and what it imports; else the file.
effective() {
    if command -v containerd >/dev/null && containerd --config "$config" config dump 2>/dev/null; then
        return
    fi
    [ ! -r "$config" ] || cat "$config"
}

# The last value of the keys on stdin that match $1; the dollars are awk's.
# shellcheck disable=SC2016
value_of() { awk -F '\t' -v name="^$1\$" '$1 ~ name { value = $2 } END { print value }'; }

# Where the settings for registries are in version $1 of the file, as a pattern: containerd reads
# them nowhere else. It dumps a file of version 1 by the names of version 2.
registry_section() {
    case $1 in
        1) say 'plugins[.](cri|io[.]containerd[.]grpc[.]v1[.]cri)[.]registry[.]' ;;
        2) say 'plugins[.]io[.]containerd[.]grpc[.]v1[.]cri[.]registry[.]' ;;
        *) say 'plugins[.]io[.]containerd[.]cri[.]v1[.]images[.]registry[.]' ;;
    esac
}

# The version of the file's form: as it says, 1 where it does not, the newest where there is none.
version() {
    if [ -s "$config" ]; then
        found=$(settings <"$config" | value_of version)
        say "${found:-1}"
    else
        case $(containerd --version 2>/dev/null) in *' 1.'* | *' v1.'*) say 2 ;; *) say 3 ;; esac
    fi
}

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

# The process of the unit $1 as systemd knows it, or of docker as it says itself; nothing where it
# does not run.
main_pid() {
    found=$(systemctl show -p MainPID "$1" 2>/dev/null | sed -n 's/^MainPID=//p')
    case $found$1 in
        docker | 0docker) found=$(cat /run/docker.pid 2>/dev/null || true) ;;
    esac
    case $found in '' | 0 | *[!0-9]*) return ;; esac
    [ ! -e "/proc/$found/stat" ] || say "$found"
}

# When process $1 was started, in seconds since 1970: field 22 of the line, after a name that may
# hold blanks, in hundredths of a second since boot.
started() {
    ticks=$(sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 20)
    booted=$(sed -n 's/^btime //p' /proc/stat)
    say $((booted + ticks / 100))
}

# Whether file $2 was changed after process $1 was started. Both are cut to seconds.
is_newer() { [ "$(date -r "$2" +%s)" -gt $(($(started "$1") + 1)) ]; }

# The first of the variables $2... that is not empty for process $1, as Go's programs look for them.
variable_of() {
    environ=/proc/$1/environ
    shift
    for name; do
        value=$(tr '\0' '\n' <"$environ" | sed -n "s/^$name=//p" | tail -n 1)
        if [ -n "$value" ]; then
            say "$value"
            return
        fi
    done
}

# Does what $action says: install_file, check or uninstall_file, which each script has of its own.
# Install needs the address ($given) of what the daemon shall use.
run_action() {
    case $action in
        install) [ -n "$given" ] || misuse ;;
        check)
            check
            return
            ;;
        uninstall) ;;
        *) misuse ;;
    esac
    need_root "$action"
    "${action}_file"
}

# Sets mirror (the URL) from MIRROR.
parse_mirror() {
    wanted="want host, host:port or http://host:port"
    shown=$1
    case $1 in
        *@*) die "want a mirror without user and password: containerd would not send them" ;;
    esac
    strip_scheme "$1"
    split_host_port 5000
    mirror=http://$host:$port
}

# What the file is for mirror $1.
content() {
    say "$MARK"
    say "[host.\"$1\"]"
    say '  capabilities = ["pull", "resolve"]'
}

# The mirror that the file names; nothing where it is not, to the letter, what we write.
installed() {
    [ -f "$file" ] && [ ! -L "$file" ] || return 0
    named=$(sed -n 's/^\[host\."\(.*\)"\]$/\1/p' "$file" | sed -n 1p)
    if content "$named" | cmp -s - "$file"; then say "$named"; fi
}

is_there() { [ -e "$file" ] || [ -L "$file" ]; }

install_file() {
    if is_there && [ -z "$(installed)" ]; then
        die "$file is not from here, or was edited since: left as it is. To use the mirror, put
[host.\"$mirror\"]
  capabilities = [\"pull\", \"resolve\"]
into it, before other hosts, and remove a line \`server\` if there is one."
    fi
    if [ "$(installed)" = "$mirror" ]; then
        say "$file is as it should be already."
    else
        mkdir -p "${file%/*}"
        content "$mirror" | replace_file "$file" 644
        say "Wrote $file: $mirror"
    fi
    own_folders
    if ! check_config; then
        say "Until then no image comes by the mirror."
        return 1
    fi
    say "containerd reads the file at each pull: nothing to restart."
}

uninstall_file() {
    if ! is_there; then
        say "Nothing to remove."
        return
    fi
    named=$(installed)
    [ -n "$named" ] || die "$file is not from here, or was edited since: left as it is"
    [ -z "$mirror" ] || [ "$mirror" = "$named" ] || die "$file names $named: left as it is"
    rm -f "$file"
    rmdir "${file%/*}" "$certs" 2>/dev/null || true
    say "Removed $file"
    say "containerd looks for it at each pull: nothing to restart."
}

# Registries with a folder of their own never use _default.
own_folders() {
    for folder in "$certs"/*/; do
        name=${folder%/} && name=${name##*/}
        if [ "$name" = _default ] || [ ! -d "$folder" ]; then continue; fi
        if [ -n "$mirror" ] && grep -qF "\"$mirror\"" "$folder/hosts.toml" 2>/dev/null; then continue; fi
        say "$name has a folder of its own in $certs, so its images do not come by the mirror."
    done
}

# Says whether containerd's CRI plugin reads the folder; status 1 where it does not.
check_config() {
    if [ -s "$config" ] && command -v containerd >/dev/null &&
        ! problem=$(containerd --config "$config" config dump 2>&1 >/dev/null); then
        say "containerd does not take $config: $(say "$problem" | sed -n '$p')"
        return 1
    fi
    now=$(effective | settings)
    if say "$now" | value_of disabled_plugins | grep -qE "$CRI"; then
        say "The CRI plugin is disabled in $config (disabled_plugins), so containerd reads no such folder"
        say "  until the plugin is taken out of that list. Clients that are told do:"
        say "  ctr images pull --hosts-dir $certs IMAGE"
        return 1
    fi
    form=$(say "$now" | value_of version)
    [ -n "$now" ] || form=$(version)
    section=$(registry_section "${form:-1}")
    path=$(say "$now" | value_of "${section}config_path" | tr -d "\"'")
    case :$path: in
        *:"$certs":* | *:"$certs/":*)
            say "containerd reads $certs (config_path)."
            check_daemon
            return
            ;;
        ::) advise ;;
        *) say "containerd reads $path (config_path), not $certs: use --hosts-dir." ;;
    esac
    return 1
}

# Says what to write into containerd's settings.
advise() {
    # shellcheck disable=SC2016 # the dollars are awk's
    old=$(say "$now" | awk -F '\t' -v name="^$section(mirrors[.]|configs[.].*[.]tls[.])" \
        '$1 ~ name { print $1; exit }')
    if [ -n "$old" ]; then
        say "$config has registries the old way ($old)."
        say "  With config_path beside it the CRI plugin does not start: move each such registry"
        say "  to a hosts.toml of its own in $certs first."
    fi
    elsewhere=$(say "$now" | value_of 'plugins[.].*[.]registry[.]config_path' | tr -d "\"'")
    if [ -n "$elsewhere" ]; then
        say "There is a config_path in a section that version ${form:-1} of the file does not have."
    fi
    version=$(version)
    say "containerd does not read $certs yet. In $config, the section"
    case $version in
        1) say "  [plugins.cri.registry]" ;;
        2) say '  [plugins."io.containerd.grpc.v1.cri".registry]' ;;
        *) say "  [plugins.'io.containerd.cri.v1.images'.registry]" ;;
    esac
    say "needs the line"
    say "  config_path = \"$certs\""
    if [ ! -s "$config" ]; then say "and the file, which is empty, before it: version = $version"; fi
    say "Next: systemctl restart containerd"
}

# A daemon has the settings that it was started with, whatever the file says now.
check_daemon() {
    pid=$(main_pid containerd)
    [ -n "$pid" ] || return 0
    used=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | config_of)
    if [ -n "$used" ] && [ "$used" != "$config" ]; then
        say "The running containerd has another file than $config: use --config $used"
        return 1
    fi
    if [ -f "$config" ] && is_newer "$pid" "$config"; then
        say "The running containerd was started before $config changed: systemctl restart containerd"
        return 1
    fi
}

# The file that a command line of containerd (a word a line) names.
config_of() {
    awk 'wanted { file = $0; wanted = 0; next }
        /^(-c|--?config)$/ { wanted = 1 }
        /^(-c|--?config)=/ { file = $0; sub(/^[^=]*=/, "", file) }
        END { if (substr(file, 1, 1) == "/") print file }'
}

check() {
    wrong=0
    named=$(installed)
    if [ -n "$named" ]; then
        say "$file: $named"
    elif is_there; then
        say "$file: not from here, or edited since"
        wrong=1
    else
        say "$file: not installed"
        wrong=1
    fi
    if [ -n "$named" ] && [ -n "$mirror" ] && [ "$named" != "$mirror" ]; then
        say "$file: is not $mirror"
        wrong=1
    fi
    mirror=${mirror:-$named}
    own_folders
    check_config || wrong=1
    [ -n "$mirror" ] || return $wrong
    if fetch "$mirror/v2/" /dev/null 10 1; then
        say "$mirror/v2/: answers"
    else
        say "$mirror/v2/: does not answer as a registry; images come from the registries themselves"
        wrong=1
    fi
    return $wrong
}

main() {
    help_if_asked "$@"
    [ $# -gt 0 ] || misuse
    action=$1
    shift
    given='' mirror='' certs=$CERTS config=$CONFIG
    while [ $# -gt 0 ]; do
        case $1 in
            --hosts-dir | --config)
                [ $# -gt 1 ] || misuse
                case $2 in
                    /*) ;;
                    *) die "got $1 '$2', want a path from /" ;;
                esac
                case $2 in *[!A-Za-z0-9/._+-]*) die "got $1 '$2', want a plain path" ;; esac
                if [ "$1" = --config ]; then config=$2; else certs=${2%/}; fi
                shift
                ;;
            -* | '') misuse ;;
            *)
                [ -z "$given" ] || misuse
                given=$1
                ;;
        esac
        shift
    done
    [ -z "$given" ] || parse_mirror "$given"
    file=$certs/_default/hosts.toml
    run_action
}

main "$@"
