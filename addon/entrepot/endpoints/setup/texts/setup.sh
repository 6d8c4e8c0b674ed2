#!/bin/sh
# Made by scripts/build-client-scripts from scripts/client/setup.sh.in: change it there.
#
# Makes this machine pull by an Entrepôt cache: installs its certificate, points the container engines
# that are here to it, and proves that they use it. Shows what it does, and undoes it.
#
# The proxy serves it at /setup with its own address filled in below. All of it is read before any of
# it is done (the last line), so that a script that came only in part does nothing.

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

program=setup

SERVED_BY=''

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

# A certificate in a PEM file, read from its DER bytes: a client may have no openssl.

# The base64 text of a PEM file in one line.
body() { sed -n '/^-----BEGIN/,/^-----END/p' "$1" | sed '/^-----/d' | tr -d '\r\n\t '; }

colons() { sed 's/../&:/g; s/:$//' | tr 'a-f' 'A-F'; }

# Of the PEM file $1 (called $2 where that is given): sets fingerprint (64 hex digits), begins and
# expires (YYYYMMDDHHMMSS, UTC), or problem and status 1.
inspect() {
    set -- "$1" "${2:-$1}"
    [ -r "$1" ] || { problem="$2 cannot be read"; return 1; }
    if grep -q 'PRIVATE KEY' "$1"; then
        problem="$2 holds a private key, which must never leave the proxy"
        return 1
    fi
    if [ "$(grep -c '^-----BEGIN ' "$1")" != 1 ] || ! grep -q '^-----BEGIN CERTIFICATE-----' "$1"; then
        problem="$2 is not exactly one PEM certificate"
        return 1
    fi
    hex=$(body "$1" | base64 -d 2>/dev/null | od -An -v -tx1 | tr -d ' \n')
    # A SEQUENCE with a length of two bytes, which must be that of the file.
    case $hex in
        3082????*) length=${hex#3082} && length=${length%"${length#????}"} ;;
        *) length=0 ;;
    esac
    if [ "${#hex}" != $(((0x$length + 4) * 2)) ]; then
        problem="$2 is not a whole certificate"
        return 1
    fi
    # The extension basicConstraints (2.5.29.19) with CA:TRUE, marked critical or not.
    case $hex in
        *0603551d130101ff04??30??0101ff* | *0603551d1304??30??0101ff*) ;;
        *)
            problem="the certificate in $2 is not a certificate authority"
            return 1
            ;;
    esac
    fingerprint=$(body "$1" | base64 -d | sha256sum | cut -c 1-64)
    # Validity: two UTCTimes, or (from 2050 on) a GeneralizedTime last; every digit is 3X in hex.
    expires=$(say "$hex" | sed -n \
        -e 's/.*301e170d[0-9a-f]\{24\}5a170d\([0-9a-f]\{24\}\)5a.*/3230\1/p' \
        -e 's/.*3020170d[0-9a-f]\{24\}5a180f\([0-9a-f]\{28\}\)5a.*/\1/p' | sed 's/3\(.\)/\1/g')
    [ -n "$expires" ] || { problem="the certificate in $2 does not say when it expires"; return 1; }
    begins=$(say "$hex" | sed -n \
        's/.*30\(1e\|20\)170d\([0-9a-f]\{24\}\)5a1\(70d\|80f\).*/3230\2/p' | sed 's/3\(.\)/\1/g')
    if [ "$begins" -gt "$(date -u +%Y%m%d%H%M%S)" ]; then
        problem="the certificate in $2 is not valid before $(day "$begins"): is this machine's clock right?"
        return 1
    fi
    if [ "$expires" -le "$(date -u +%Y%m%d%H%M%S)" ]; then
        problem="the certificate in $2 expired on $(day "$expires")"
        return 1
    fi
}

day() { say "$1" | sed 's/^\(....\)\(..\)\(..\).*/\1-\2-\3/'; }

# What a proxy gives as /ca.pem, in the file $1 (called $2 where that is given), is taken apart:
# $work/ca.pem is the certificate that it signs by now. While it changes its authority there is another:
# $work/next.pem is the one that it will sign by, or $work/previous.pem the one that it did.
# Sets fingerprint of the first and other of the second, or problem and status 1.
take_certificates() {
    set -- "$1" "${2:-$1}"
    rm -f "$work/ca.pem" "$work/other.pem" "$work/next.pem" "$work/previous.pem" "$work/said.pem"
    other=''
    if [ "$(grep -c '^-----BEGIN CERTIFICATE-----' "$1" 2>/dev/null)" = 2 ] && ! grep -q 'PRIVATE' "$1"; then
        tr -d '\r' <"$1" | awk -v first="$work/ca.pem" -v second="$work/other.pem" '
            /^-----BEGIN/ { inside = 1; file = (file == "" ? first : second) }
            inside { print >file }
            /^-----END/ { inside = 0 }'
        inspect "$work/other.pem" "$2" || return 1
        other=$fingerprint since=$begins
    else
        tr -d '\r' <"$1" 2>/dev/null | sed -n '/^-----BEGIN/,/^-----END/p' >"$work/ca.pem"
        [ -r "$1" ] || { problem="$2 cannot be read"; return 1; }
    fi
    inspect "$work/ca.pem" "$2" || return 1
    [ -n "$other" ] || return 0
    if [ "$other" = "$fingerprint" ]; then
        problem="$2 is not exactly one PEM certificate, or two that are not the same"
        return 1
    fi
    # What follows begins later.
    if [ "$since" -gt "$begins" ]; then which=next; else which=previous; fi
    mv -f "$work/other.pem" "$work/$which.pem"
    # What they say of one another, which stands beside them.
    tr -d '\r' <"$1" | grep '^# [12]>[12]: ' >"$work/said.pem" || true
}

# Which certificates of a proxy are trusted: by their fingerprint, or since one vouches for another.

# Whether one of the fingerprints $trusted is $1.
is_trusted() { case " $trusted " in *" $1 "*) ;; *) return 1 ;; esac }

# Whether the certificate $1 vouches for the certificate $2, by the word marked $3 (1>2: the first's for
# the second). Status 1: it does not; 2: nothing here can tell.
vouches() (
    command -v openssl >/dev/null || exit 2
    {
        say '-----BEGIN CERTIFICATE-----'
        sed -n "s/^# $3: //p" "$work/said.pem"
        say '-----END CERTIFICATE-----'
    } >"$work/word.pem"
    # No other authority than $1 counts: without these, openssl trusts the system's store as well.
    # shellcheck disable=SC2030 # the function is a subshell
    export SSL_CERT_DIR="$work/none" SSL_CERT_FILE="$work/none"
    key=$(openssl x509 -noout -pubkey -in "$2" 2>/dev/null) || exit 1
    # What is vouched for is a key, so the certificate must be by that key itself.
    [ -n "$key" ] && [ "$(openssl x509 -noout -pubkey -in "$work/word.pem" 2>/dev/null)" = "$key" ] &&
        openssl verify -no-CApath -CAfile "$1" "$work/word.pem" >/dev/null 2>&1 &&
        openssl verify -no-CApath -check_ss_sig -CAfile "$2" "$2" >/dev/null 2>&1 || exit 1
)

# Keeps of what take_certificates took apart that for which one of the fingerprints $trusted stands: a
# certificate that has it, or for which one vouches that has it. Status 1: the certificate that the
# proxy signs by now is not among them; 2: neither, and problem says more. Sets left_out to the next
# certificate's fingerprint where that was removed, since nothing here can tell.
keep_trusted() {
    left_out='' problem=''
    if ! is_trusted "$fingerprint"; then
        [ -n "$other" ] && is_trusted "$other" || return 1
        which=next
        [ -f "$work/next.pem" ] || which=previous
        by=0
        vouches "$work/$which.pem" "$work/ca.pem" '2>1' || by=$?
        case $by in
            0) return ;;
            2) problem="to see whether one vouches for the other takes openssl: give both fingerprints" ;;
            *) problem="the certificate with the right fingerprint does not vouch for it" ;;
        esac
        return 2
    fi
    if [ ! -f "$work/next.pem" ] || is_trusted "$other"; then return; fi
    by=0
    vouches "$work/ca.pem" "$work/next.pem" '1>2' || by=$?
    case $by in
        0) return ;;
        2) left_out=$other && rm -f "$work/next.pem" ;;
        *)
            problem="the certificate that it is said to change to,
  $(say "$other" | colons),
is not vouched for by the one with the right fingerprint"
            return 2
            ;;
    esac
}

# The fingerprint of each word, bare; dies where one is none.
fingerprints() {
    for word; do
        word=$(say "${word##*=}" | tr -d ': ' | tr 'A-F' 'a-f')
        case $word in
            *[!0-9a-f]*) die "got --fingerprint '$word', want the 64 hex digits of a SHA-256" ;;
            *) [ "${#word}" = 64 ] || die "got a --fingerprint of ${#word} hex digits, want 64" ;;
        esac
        say "$word"
    done
}

DEBIAN=/usr/local/share/ca-certificates

# The trust stores: folder for local certificates, command that reads it, bundle that it makes.
# SUSE; Fedora and RHEL; Arch; Debian, Ubuntu and Alpine.
stores() {
    cat <<END
/etc/pki/trust/anchors update-ca-certificates /etc/ssl/ca-bundle.pem
/etc/pki/ca-trust/source/anchors update-ca-trust /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem
/etc/ca-certificates/trust-source/anchors update-ca-trust /etc/ssl/certs/ca-certificates.crt
$DEBIAN update-ca-certificates /etc/ssl/certs/ca-certificates.crt
END
}

# Prints the store of this machine; status 1 where there is none that we know.
store() {
    stores | while read -r folder command bundle; do
        if [ -d "$folder" ] && command -v "$command" >/dev/null; then
            say "$folder $command $bundle"
            break
        fi
    done
}

# Runs the command that reads a trust store's folder; its output matters only if it fails.
refresh() {
    say "Running $*"
    output=$("$@" 2>&1) || die "$* failed: $output"
}

# Debian's Java store takes certificates over by a hook that is not told of removals by --fresh.
forget_java() {
    if [ "$1" = "$DEBIAN" ] && [ -f /etc/ssl/certs/java/cacerts ]; then
        say "Java keeps a copy: keytool -delete -cacerts -storepass changeit -alias debian:entrepot.pem"
    fi
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

# What systemd gives a unit as its environment.

# The files that systemd reads for the unit, in its order; the first folder wins for each name.
unit_files() {
    folders='/etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system
        /usr/lib/systemd/system /lib/systemd/system'
    for folder in $folders; do
        if [ -e "$folder/$unit.service" ]; then
            # A unit that is masked is a link to /dev/null.
            [ ! -s "$folder/$unit.service" ] || say "$folder/$unit.service"
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

# Prints "variable value file" (tabs between) of each proxy variable, and of each with $prefix before
# its name, that the files named on stdin set, as systemd resolves them: the last Environment= counts,
# and EnvironmentFile= beats them all; "reset" is the last file that empties the list.
environment() {
    # shellcheck disable=SC2016 # the dollars are awk's
    awk -v prefix="$prefix" '
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
            if (prefix != "") for (i = 2; i <= 7; i++) names[i + 6] = prefix names[i]
            for (i = 1; i in names; i++)
                if (names[i] in value)
                    printf "%s\t%s\t%s\n", names[i], value[names[i]], origin[names[i]]
        }'
}

# The value of variable $2 in the lines $1 of environment.
value_of() { say "$1" | awk -F '\t' -v name="$2" '$1 == name { print $2 }'; }
origin_of() { say "$1" | awk -F '\t' -v name="$2" '$1 == name { print $3 }'; }

# Which hosts NO_PROXY keeps from the proxy: as Go's programs read it, docker and containerd among
# them (golang.org/x/net/http/httpproxy).

# The registries that most pull from, and the token server of Docker Hub.
WELL_KNOWN='registry-1.docker.io auth.docker.io ghcr.io quay.io gcr.io registry.k8s.io
mcr.microsoft.com public.ecr.aws registry.gitlab.com nvcr.io docker.elastic.co
registry.access.redhat.com registry.redhat.io'

# Prints the entry of the list $3 that exempts host $1 (an IPv6 address without brackets) at port
# $2, or "loopback"; nothing where the host is asked for by the proxy.
exemption() {
    # shellcheck disable=SC2016 # the dollars are awk's
    HOST=$1 PORT=$2 LIST=$3 awk '
        function binary(value, width,    text) {
            for (; width > 0; width--) { text = (value % 2) text; value = int(value / 2) }
            return text
        }
        function ipv4(text,    part, i, all) {
            if (split(text, part, ".") != 4) return ""
            for (i = 1; i <= 4; i++) {
                if (part[i] !~ /^(0|[1-9][0-9]?[0-9]?)$/ || part[i] + 0 > 255) return ""
                all = all binary(part[i] + 0, 8)
            }
            return all
        }
        # What is on one side of "::"; an x where it is no part of an address.
        function groups(text,    part, count, i, j, all, last) {
            count = text == "" ? 0 : split(text, part, ":")
            for (i = 1; i <= count; i++) {
                if (i == count && (last = ipv4(part[i])) != "") { all = all last; continue }
                if (part[i] !~ /^[0-9a-f][0-9a-f]?[0-9a-f]?[0-9a-f]?$/) return "x"
                for (j = 4; j > length(part[i]); j--) all = all "0000"
                for (j = 1; j <= length(part[i]); j++)
                    all = all binary(index("0123456789abcdef", substr(part[i], j, 1)) - 1, 4)
            }
            return all
        }
        # An address as 128 binary digits, an IPv4 one in its place in IPv6; nothing if it is none.
        function address(text,    at, head, tail) {
            if ((head = ipv4(text)) != "") return binary(0, 80) binary(65535, 16) head
            if (!index(text, ":")) return ""
            if (!(at = index(text, "::"))) { head = groups(text); return length(head) == 128 ? head : "" }
            head = groups(substr(text, 1, at - 1)); tail = groups(substr(text, at + 2))
            if (head == "x" || tail == "x" || length(head tail) >= 128) return ""
            while (length(head tail) < 128) head = head "0"
            return head tail
        }
        function matches(entry,    at, name, size, network, wanted, exact) {
            if (entry == "*") return 1
            at = index(entry, "/"); name = substr(entry, 1, at - 1); size = substr(entry, at + 1)
            network = at ? address(name) : ""
            if (network != "" && size ~ /^[0-9]+$/ && size + 0 <= (index(name, ":") ? 128 : 32)) {
                size += index(name, ":") ? 0 : 96
                return ours != "" && substr(ours, 1, size) == substr(network, 1, size)
            }
            name = entry; wanted = ""
            if (entry ~ /^\[[^]:[]*:[^][]*\]:[^]:[]*$/) {
                at = index(entry, "]"); name = substr(entry, 2, at - 2); wanted = substr(entry, at + 2)
            } else if (entry ~ /^[^]:[]*:[^]:[]*$/) {
                at = index(entry, ":"); name = substr(entry, 1, at - 1); wanted = substr(entry, at + 1)
            }
            if (name == "" || (wanted != "" && wanted != port)) return 0
            if ((network = address(name)) != "" || ours != "") return network == ours
            sub(/^[*][.]/, ".", name)
            if (name !~ /^[.]/) { exact = name; name = "." name }
            at = length(host) - length(name)
            return host == exact || (at >= 0 && substr(host, at + 1) == name)
        }
        BEGIN {
            host = tolower(ENVIRON["HOST"]); port = ENVIRON["PORT"]; ours = address(host)
            if (host == "localhost" || ours == address("::1") || \
                substr(ours, 1, 104) == substr(address("127.0.0.0"), 1, 104)) { print "loopback"; exit }
            count = split(tolower(ENVIRON["LIST"]), entries, ",")
            for (i = 1; i <= count; i++) {
                gsub(/^[ \t]+|[ \t]+$/, "", entries[i])
                if (entries[i] != "" && matches(entries[i])) { print entries[i]; exit }
            }
        }'
}

# Says which registries of $WELL_KNOWN, and of $2 (host:port), the list $1 exempts; status 1 if any.
report_exempt() {
    exempt=0
    for known in $WELL_KNOWN $2; do
        [ "$known:443" != "$2" ] || continue
        case $known in
            *:*) entry=$(exemption "$(say "${known%:*}" | tr -d '[]')" "${known##*:}" "$1") ;;
            *) entry=$(exemption "$known" 443 "$1") ;;
        esac
        if [ -n "$entry" ]; then
            say "${known%:443} bypasses the cache: NO_PROXY has '$entry'"
            exempt=1
        fi
    done
    return $exempt
}

# What Go's programs trust, docker and containerd among them, on Linux: the first of these bundles
# that is there, and every file of these folders (crypto/x509, root_linux.go and root_unix.go), or
# what SSL_CERT_FILE and SSL_CERT_DIR name. They read it once, at their first TLS connection.
GO_BUNDLES='/etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem
/etc/pki/tls/cacert.pem /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem /etc/ssl/cert.pem'
GO_FOLDERS=/etc/ssl/certs:/etc/pki/tls/certs

# Prints the file that holds the certificate of the PEM file $1 for a program whose SSL_CERT_FILE is
# $2 and whose SSL_CERT_DIR is $3; nothing where none does.
root_file() {
    whole=$(body "$1")
    for bundle in ${2:-$GO_BUNDLES}; do
        [ -r "$bundle" ] || continue
        if holds "$bundle"; then
            say "$bundle"
            return
        fi
        break
    done
    # A line of the certificate finds the few files that are worth a look.
    line=$(sed -n '/^-----BEGIN/,$p' "$1" | tr -d '\r' | sed -n 2p)
    say "${3:-$GO_FOLDERS}" | tr ':' '\n' | while read -r folder; do
        grep -lF -- "$line" "$folder"/* 2>/dev/null || true
    done | while read -r path; do
        if holds "$path"; then
            say "$path"
            break
        fi
    done
}

# Whether the certificate $whole is in the file $1.
holds() { tr -d '\r\n' <"$1" | grep -qF -- "$whole"; }

# A TLS connection through the proxy, to see whose certificate comes and whether it is trusted.

# Asks https://$1/v2/ through the proxy $2 (URL), where SSL_CERT_FILE is $3 if not empty. Leaves the
# head of the answer in $work/head and what went wrong in $work/said. Status 0: it was answered;
# 1: the certificate is not trusted; 2: something else; 3: nothing here can ask.
ask_through() (
    unset HTTPS_PROXY HTTP_PROXY ALL_PROXY NO_PROXY no_proxy all_proxy CURL_CA_BUNDLE
    unset SSL_CERT_FILE SSL_CERT_DIR
    # shellcheck disable=SC2031 # the function is a subshell
    [ -z "$3" ] || export SSL_CERT_FILE="$3"
    # Not among the arguments, which every user can see.
    export https_proxy="$2"
    status=0
    : >"$work/head"
    if command -v curl >/dev/null; then
        curl -q -sS --max-time 20 -o /dev/null -D "$work/head" "https://$1/v2/" 2>"$work/said" || status=$?
        case $status in 0) ;; 60) status=1 ;; *) status=2 ;; esac
    elif case $(wget --version 2>/dev/null) in *GNU*) ;; *) false ;; esac then
        # An answer that is an error (status 6 or 8) is an answer.
        wget --no-config -nv -S -t 1 -T 20 -O /dev/null ${3:+--ca-certificate="$3"} "https://$1/v2/" \
            2>"$work/said" || status=$?
        cat "$work/said" >"$work/head"
        case $status in 0 | 6 | 8) status=0 ;; 5) status=1 ;; *) status=2 ;; esac
    else
        status=3
    fi
    exit $status
)

# Says what comes of it for the registry $1 (host:port); status 1 where the cache does not answer.
report_handshake() {
    asked=${1%:443} status=0
    ask_through "$asked" "$2" "$3" || status=$?
    case $status in
        0)
            if tr -d '\r' <"$work/head" | grep -qi '^ *cache-status: *entrepot'; then
                say "https://$asked/v2/ through the proxy: the cache answers, its certificate is trusted"
                return
            fi
            say "https://$asked/v2/ through the proxy: a tunnel to the registry itself, so nothing is cached."
            say "  It is none of the proxy's registries (its options --only-listed, --registry, --permit), or"
            say "  a client that looks like this one refused the proxy's certificate a while ago (see its log)."
            ;;
        1) say "https://$asked/v2/ through the proxy: its certificate is not trusted here" ;;
        3)
            say "https://$asked/v2/ through the proxy: not tried, for want of curl or GNU's wget"
            return
            ;;
        *) say "https://$asked/v2/ through the proxy: $(grep . "$work/said" | sed -n '$p')" ;;
    esac
    return 1
}

# What docker's daemon says of itself, at its socket.
DOCKER_SOCKET=/run/docker.sock

# Prints dockerd's value of HttpProxy, HttpsProxy or NoProxy ($1), with the password left out. It may
# come from daemon.json (`proxies`) or from an option: both count before the environment.
docker_setting() {
    [ -S "$DOCKER_SOCKET" ] || return 0
    if command -v curl >/dev/null; then
        curl -q -sS --max-time 10 --unix-socket "$DOCKER_SOCKET" http://localhost/info 2>/dev/null |
            sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
    elif command -v docker >/dev/null; then
        field=$(say "$1" | sed 's/Http/HTTP/; s/HTTPs/HTTPS/')
        DOCKER_HOST=unix://$DOCKER_SOCKET docker info --format "{{.$field}}" 2>/dev/null || true
    fi
}

# Sets registry (host:port) from the image name $1.
registry_of() {
    case $1 in
        *[!A-Za-z0-9._:/@-]* | '' | /* | -*) die "got image '$1', want a name such as debian:12" ;;
    esac
    registry=${1%%/*}
    case $1 in */*) ;; *) registry=docker.io ;; esac
    case $registry in
        *.* | *:* | localhost) ;;
        *) registry=docker.io ;;
    esac
    case $registry in docker.io | index.docker.io) registry="registry-1.docker.io" ;; esac
    case $registry in *:*) ;; *) registry=$registry:443 ;; esac
}

# Has dockerd ask for the manifest of the image $1, and says what came of it; status 1 where it does
# not come to the cache at $address. The proxy counts what comes to it.
report_question() {
    if ! [ -S "$DOCKER_SOCKET" ] || ! command -v curl >/dev/null; then
        say "docker: not asked for $1: that takes $DOCKER_SOCKET and curl"
        return 1
    fi
    counted=$(count) again=$(count)
    code=$(curl -q -sS --max-time 60 --unix-socket "$DOCKER_SOCKET" -o "$work/answer" \
        -w '%{http_code}' "http://localhost/distribution/$1/json" 2>/dev/null) || code=000
    message=$(sed -n 's/^{"message":"\(.*\)"}$/\1/p' "$work/answer" 2>/dev/null)
    case $code$message in
        *x509* | *certificate*)
            say "docker: the daemon does not trust the proxy's certificate: systemctl restart docker"
            say "  It says: $message"
            return 1
            ;;
        200*) say "docker: the daemon asked for $1, and was answered" ;;
        401* | 403* | 404*) say "docker: the daemon asked for $1, and was refused: $message" ;;
        *)
            say "docker: the daemon asked for $1 in vain ($code): $message"
            return 1
            ;;
    esac
    if [ "$(count)" = "$again" ]; then
        say "  It did not come to the cache at $address, which counted nothing meanwhile."
        return 1
    elif [ "$counted" != "$again" ]; then
        say "  Others use the cache at this moment, so what it counted proves nothing."
    else
        say "  It came to the cache at $address, which counted it."
    fi
}

# What the proxy has counted so far.
count() {
    fetch "http://$address/healthz" "$work/counted" 10 1 || true
    sed 's/.*"counters"//; s/}.*//' "$work/counted"
}

# What the running daemon of $unit has of the proxy's settings, which may not be what the files say.

# A daemon has the environment that it was started with, whatever the files say now. Sets has,
# has_exceptions, cert_file and cert_folders: the proxy, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR of
# the running one.
report_daemon() {
    has='' has_exceptions='' cert_file='' cert_folders='' well=0
    if [ -z "$pid" ]; then
        say "$unit: not running, so nothing is proven"
        return 1
    fi
    if [ ! -r "/proc/$pid/environ" ]; then
        say "$unit: run this as root to see what the running daemon has"
        return 1
    fi
    has=$(variable_of "$pid" "${prefix}HTTPS_PROXY" "${prefix}https_proxy" HTTPS_PROXY https_proxy)
    has_exceptions=$(variable_of "$pid" "${prefix}NO_PROXY" "${prefix}no_proxy" NO_PROXY no_proxy)
    cert_file=$(variable_of "$pid" SSL_CERT_FILE)
    cert_folders=$(variable_of "$pid" SSL_CERT_DIR)
    report_environment || well=1
    [ "$unit" != docker ] || ask_docker
    if [ -z "$has" ]; then
        say "$unit: the running daemon uses no proxy"
        well=1
    elif [ -n "$proxy" ] && [ "$(bare "$has")" != "$(bare "$proxy")" ]; then
        say "$unit: the running daemon uses $(say "$has" | redact)"
        well=1
    fi
    return $well
}

# Compares the environment of the running daemon with the files.
report_environment() {
    [ -n "$set_to" ] || return 0
    other=''
    for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        variable=$prefix$variable
        wanted=$(value_of "$now" "$variable")
        [ "$wanted" = "$(variable_of "$pid" "$variable")" ] || other="$other $variable"
    done
    if [ -z "$other" ]; then
        say "$unit: the running daemon has it"
    else
        say "$unit: the running daemon does not have it: systemctl restart $unit"
        say "  It was started with another value of$other."
        return 1
    fi
}

# dockerd knows better: its daemon.json and its options count before its environment.
ask_docker() {
    told=$(docker_setting HttpsProxy)
    if [ -n "$told" ] && [ "$(bare "$told")" != "$(bare "$has")" ]; then
        say "docker: its own settings (daemon.json, or an option) name the proxy $(say "$told" | redact)"
        has=$told
    fi
    told=$(docker_setting NoProxy)
    if [ -n "$told" ] && [ "$told" != "$has_exceptions" ]; then
        say "docker: its own settings (daemon.json, or an option) have NO_PROXY=$told"
        has_exceptions=$told
    fi
}

# A proxy's URL without the password, which dockerd does not tell, and without a slash at its end.
bare() { say "$1" | sed 's#^\([a-z]*://\).*@#\1#; s#/$##'; }

# The proxy's address as it is given, with a login for it or without.

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

# Whether the running daemon of $unit trusts the proxy.

# Whether the daemon trusts the certificate in $work/ca.pem, as far as files (status 1) and dates
# (status 2) tell.
report_trust() {
    shown=$(say "$fingerprint" | colons)
    found=$(root_file "$work/ca.pem" "$cert_file" "$cert_folders")
    if [ -n "$found" ]; then
        since=$(came_by "$work/ca.pem" "$found")
        if [ -n "$pid" ] && is_newer "$pid" "$since"; then
            say "$unit: the running daemon was started before the proxy's certificate came ($since),"
            say "  and reads what it trusts once: systemctl restart $unit"
            return 2
        fi
        say "The proxy's certificate is trusted ($found)."
        return
    fi
    docker_only=''
    [ "$unit" != docker ] || docker_only=$(docker_folder "$work/ca.pem")
    if [ -n "$docker_only" ]; then
        say "docker trusts the proxy's certificate for ${registry%:443} ($docker_only)."
        cert_file=$docker_only
        return
    fi
    say "The proxy's certificate, $shown,"
    say "  is not in what $unit trusts: $(how_to_trust)"
    return 1
}

# The file by which the certificate $1 came into $2: a bundle is made anew at each update, so the date
# of our own file says more.
came_by() {
    stores | while read -r folder _; do
        for anchor in "$folder/entrepot.crt" "$folder/entrepot-next.crt"; do
            if [ -f "$anchor" ] && [ "$(body "$anchor")" = "$(body "$1")" ]; then say "$anchor"; fi
        done
    done >"$work/anchors"
    [ -s "$work/anchors" ] || say "$2" >"$work/anchors"
    sed -n '$p' "$work/anchors"
}

# The same for the certificate that the proxy is about to change to, in two lines where it is not
# trusted: status 1.
report_next() {
    [ -f "$work/next.pem" ] || return 0
    found=$(root_file "$work/next.pem" "$cert_file" "$cert_folders") since=''
    if [ -n "$found" ]; then
        since=$(came_by "$work/next.pem" "$found")
    elif [ "$unit" = docker ]; then
        found=$(docker_folder "$work/next.pem")
    fi
    if [ -z "$found" ]; then
        say "The proxy is about to change to another certificate, $(say "$other" | colons),"
        say "  which is not in what $unit trusts yet: $(how_to_trust)"
        return 1
    fi
    if [ -n "$since" ] && [ -n "$pid" ] && is_newer "$pid" "$since"; then
        say "The proxy is about to change to another certificate, which came after the running $unit was"
        say "  started ($since): systemctl restart $unit"
        return 1
    fi
    say "The certificate that the proxy is about to change to is trusted as well ($found)."
}

# Docker's folder for the registry alone, if a file in it is the certificate $1.
docker_folder() {
    case $registry in *docker.io:443) return ;; esac
    for path in "/etc/docker/certs.d/${registry%:443}"/*.crt "/etc/docker/certs.d/$registry"/*.crt; do
        if [ -f "$path" ] && [ "$(body "$path")" = "$(body "$1")" ]; then
            say "$path"
            break
        fi
    done
}

# Whether the daemon of $unit uses the proxy: what is set, what it has, and what comes of it.

check() {
    wrong=0 registry='' pid=''
    [ -z "$image" ] || registry_of "$image"
    now=$(unit_files | environment)
    set_to=$(value_of "$now" "${prefix}HTTPS_PROXY")
    report_files || wrong=1
    pid=$(main_pid "$unit")
    report_daemon || wrong=1
    # What counts is what the running daemon has; the files, where that cannot be seen.
    [ -n "$set_to$has" ] || return 1
    exceptions=$has_exceptions
    [ -n "$has" ] || exceptions=$(value_of "$now" "${prefix}NO_PROXY")
    report_exempt "$exceptions" "$registry" || wrong=1
    parse_proxy "${proxy:-${set_to:-$has}}"
    report_proxy || return 1
    registry=${registry:-registry-1.docker.io:443}
    distrust=0
    report_next || wrong=1
    report_trust || distrust=$?
    # Without the certificate it would be a refusal, which the proxy remembers.
    [ "$distrust" = 1 ] || report_handshake "$registry" "$proxy" "$cert_file" || wrong=1
    # The daemon's own word counts more than dates.
    [ -z "$image" ] || report_question "$image" || wrong=1
    case $distrust$image in 0* | 2?*) ;; *) wrong=1 ;; esac
    return $wrong
}

# What the files say. Where they say nothing the daemon may have settings of its own.
report_files() {
    well=0
    if [ -z "$set_to" ]; then
        say "$unit: no ${prefix}HTTPS_PROXY is set by systemd"
        return
    fi
    for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        variable=$prefix$variable
        say "$variable=$(value_of "$now" "$variable" | redact) ($(origin_of "$now" "$variable"))"
    done
    if [ "$(origin_of "$now" "${prefix}HTTPS_PROXY")" != "$dropin" ]; then
        say "$unit: ${prefix}HTTPS_PROXY is not set by $dropin"
        well=1
    fi
    if [ -n "$proxy" ] && [ "$proxy" != "$set_to" ]; then
        say "$unit: ${prefix}HTTPS_PROXY is not $(say "$proxy" | redact)"
        well=1
    fi
    return $well
}

# Whether the proxy is there; brings its certificate to $work/ca.pem.
report_proxy() {
    if ! fetch "http://$address/healthz" /dev/null 10 1; then
        say "http://$address/healthz: does not answer"
        return 1
    fi
    say "http://$address/healthz: answers"
    problem="it cannot be fetched"
    # Who does not install the certificates does not count as ready for new ones.
    if ! fetch "http://$address/ca.pem?check" "$work/fetched" 10 1 || ! take_certificates "$work/fetched"; then
        say "http://$address/ca.pem: $problem: that is no Entrepôt"
        return 1
    fi
}

# The files of the set-up: each is written whole or not at all, and what was there comes back.

# Our own folder: the certificate at a place that is the same everywhere, and what folders we made.
OURS=/etc/entrepot
FOLDERS=$OURS/folders
BACKUP=.before-entrepot

# place FILE MODE: makes stdin the content of the file; while $planning, only says so. Adds to
# $changed. A file of this name that we have not written is kept beside it.
place() {
    cat >"$work/content"
    if [ -f "$1" ] && cmp -s "$work/content" "$1"; then
        [ "$planning" = 0 ] || say "  $1: is as it should be already"
        return
    fi
    if [ "$planning" = 1 ]; then
        say "  $1"
        [ "$action" = install ] || sed 's/^/      /; s#//[^@/"]*@#//***@#g' "$work/content"
        return
    fi
    make_folder "${1%/*}"
    if [ -f "$1" ] && ! is_ours "$1"; then
        mv -f "$1" "$1$BACKUP"
        say "  $1$BACKUP: what was there before"
    fi
    replace_file "$1" "$2" <"$work/content"
    say "  $1"
    changed=1 written=1
}

is_ours() {
    case $1 in
        */entrepot.crt | */entrepot-next.crt | "$FOLDERS") ;;
        *) sed -n 1p "$1" | grep -q '^# Written .*Entrep' ;;
    esac
}

# Makes a folder and those above it, and notes those that were not there.
make_folder() {
    [ ! -d "$1" ] || return 0
    make_folder "${1%/*}"
    mkdir "$1"
    [ "$1" = "$OURS" ] || make_folder "$OURS"
    say "$1" >>"$FOLDERS"
}

# Removes the file $1, if it is one of ours, and puts back what was there before. Adds to $removed.
displace() {
    if [ ! -f "$1" ] || ! is_ours "$1"; then return 0; fi
    rm -f "$1"
    say "Removed $1"
    removed=1
    [ ! -f "$1$BACKUP" ] || mv -f "$1$BACKUP" "$1"
}

# Removes the folders that we made, the deepest first, if nothing of others is in them.
remove_folders() {
    [ -f "$FOLDERS" ] || return 0
    LC_ALL=C sort -r "$FOLDERS" >"$work/folders"
    rm -f "$FOLDERS"
    while read -r folder; do rmdir "$folder" 2>/dev/null || true; done <"$work/folders"
}

# The proxy and its certificate: whether it answers, and whether the certificate is the right one. While
# the proxy changes its authority there are two.

CERTIFICATE=entrepot.crt
# The certificate that a proxy is about to change to.
NEXT=entrepot-next.crt
OWN_STORE=$OURS/certs

# Brings the certificates to $work/ca.pem and next.pem, compares them, and asks a registry through the
# proxy by them, before anything is written.
reach_proxy() {
    command -v curl >/dev/null || command -v wget >/dev/null ||
        die "neither curl nor wget is installed: install one of them. Nothing was done."
    url=http://$address/ca.pem
    # Who does not install the certificates does not count as ready for new ones.
    asked=$url
    [ "$action" = install ] || asked="$url?check"
    fetch "$asked" "$work/fetched" 20 1 ||
        die "$url does not answer: is the proxy running, and does a firewall let this machine to it? \
Nothing was done."
    take_certificates "$work/fetched" "$url" || die "$problem: that is no Entrepôt. Nothing was done."
    say "The cache at $address answers. Its certificate, SHA-256:"
    say "  $(say "$fingerprint" | colons), expires $(day "$expires")"
    [ ! -f "$work/next.pem" ] || say "  and the one that it is about to change to: $(say "$other" | colons)"
    left_out=''
    if [ "$action" = install ] || [ -n "$expected" ]; then verify_certificate; fi
    ask_registry
}

ask_registry() {
    status=0
    for path in "$work/ca.pem" "$work/next.pem" "$work/previous.pem"; do
        [ ! -f "$path" ] || cat "$path"
    done >"$work/roots.pem"
    ask_through "${registry%:443}" "$proxy" "$work/roots.pem" || status=$?
    case $status in
        1)
            die "https://${registry%:443}/v2/ through the proxy: somebody else's certificate: \
$(grep . "$work/said" | sed -n '$p'). Nothing was done."
            ;;
        2)
            die "https://${registry%:443}/v2/ through the proxy: $(grep . "$work/said" | sed -n '$p'). \
Where the proxy wants a password, give --proxy http://user:password@$address. Nothing was done."
            ;;
        3) say "Not asked for ${registry%:443} through the proxy, for want of curl or GNU's wget." ;;
        0)
            if tr -d '\r' <"$work/head" | grep -qi '^ *cache-status: *entrepot'; then
                say "It answers for ${registry%:443} through the proxy."
            else
                say "It tunnels ${registry%:443}: this registry is not cached (see --image)."
            fi
            ;;
    esac
}

# What a wrong fingerprint means, for the one who is to decide: it is none of $trusted, which are as $1.
refuse() {
    die "the certificate that $url gives has the fingerprint
  $(say "$fingerprint" | colons)
and not, as $1,
$(for word in $trusted; do say "  $(say "$word" | colons)"; done)
Who has the key of this certificate can pretend to be any website to this machine. So it may be that
the proxy's authority was made anew, or that another machine answers in its place. Run \`entrepot ca
show\` on the proxy: if it prints the first one, run this again with --fingerprint and that one.
Nothing was done."
}

# Refuses a certificate that nobody has compared, or that is another than those that are installed,
# unless one of those vouches for it.
verify_certificate() {
    earlier=$(earlier_fingerprints)
    trusted=$expected as="--fingerprint wants" judged=0
    [ -n "$trusted" ] || { trusted=$earlier as="is installed here"; }
    if [ -n "$trusted" ]; then
        keep_trusted || judged=$?
        case $judged in
            1) refuse "$as" ;;
            2) die "the proxy signs by $(say "$fingerprint" | colons); $problem. Nothing was done." ;;
        esac
        if ! is_trusted "$fingerprint"; then
            say "The certificate with the fingerprint that is known vouches for it."
        elif [ -n "$expected" ]; then
            say "The fingerprint is as expected."
        else
            say "The fingerprint is that of the certificate that is installed here."
        fi
        report_earlier
    elif [ "$first_use" = 1 ]; then
        say "NOT VERIFIED: whoever answers on this network could have sent another certificate."
    else
        say "Nobody has compared this fingerprint. Who has the key of this certificate can pretend to be"
        say "any website to this machine, and whoever answers on this network could have sent it."
        say "Compare it with what \`entrepot ca show\` prints on the proxy, then run"
        say "  curl -fsS http://$address/setup | sudo sh -s -- --fingerprint $(say "$fingerprint" | colons)"
        die "want --fingerprint, or --trust-on-first-use if this network is trusted. Nothing was done."
    fi
}

report_earlier() {
    trusted=$earlier
    if [ -n "$earlier" ] && ! is_trusted "$fingerprint"; then
        say "It takes the place of:"
        for word in $earlier; do say "  $(say "$word" | colons)"; done
    fi
    if [ -n "$left_out" ]; then
        say "LEFT OUT: the one that it is about to change to, since there is no openssl to see whether the"
        say "other vouches for it. Give --fingerprint twice, for both (\`entrepot ca show\` on the proxy)."
    fi
}

# The fingerprints of the certificates that an earlier run installed.
earlier_fingerprints() {
    for folder in "$OWN_STORE" "$(store | cut -d ' ' -f 1)"; do
        for path in "$folder/$CERTIFICATE" "$folder/$NEXT"; do
            [ ! -f "$path" ] || body "$path" | base64 -d 2>/dev/null | sha256sum | cut -c 1-64
        done
    done | sort -u | tr '\n' ' ' | sed 's/ $//'
}

# Writes the certificates into the system's trust store, and to a place that is the same everywhere.
place_certificate() {
    stored=$(store)
    [ -n "$stored" ] || die "no trust store that I know: install the package ca-certificates first"
    # shellcheck disable=SC2086 # three words without blanks in them
    set -- $stored
    place_into "$OWN_STORE"
    changed=0 fresh=''
    place_into "$1"
    [ "$planning" = 0 ] || return 0
    came=$changed
    if [ "$changed" = 1 ] || ! tr -d '\r\n' <"$3" 2>/dev/null | grep -qF -- "$(body "$work/ca.pem")"; then
        refresh "$2" $fresh
    fi
}

# Writes them into the folder $1; one that the proxy does not announce any more goes.
place_into() {
    place "$1/$CERTIFICATE" 644 <"$work/ca.pem"
    if [ -f "$work/next.pem" ]; then
        place "$1/$NEXT" 644 <"$work/next.pem"
    elif [ -f "$1/$NEXT" ] && [ -z "$left_out" ]; then
        if [ "$planning" = 1 ]; then
            say "  $1/$NEXT: to be removed, the proxy does not announce it any more"
        else
            rm -f "$1/$NEXT"
            say "  $1/$NEXT: removed, the proxy does not announce it any more"
            changed=1 written=1
            # Without it Debian's links to a file that is gone stay.
            [ "$1" != "$DEBIAN" ] || fresh=--fresh
        fi
    fi
}

# Whether one of our certificates in the store is newer than process $1, which ran before this did.
is_older_than_certificates() {
    [ "${came:-0}" = 0 ] || return 0
    folder=$(store | cut -d ' ' -f 1)
    for path in "$folder/$CERTIFICATE" "$folder/$NEXT"; do
        if [ -f "$path" ] && is_newer "$1" "$path"; then return; fi
    done
    return 1
}

displace_certificate() {
    displace "$OWN_STORE/$CERTIFICATE"
    displace "$OWN_STORE/$NEXT"
    stores >"$work/stores"
    while read -r folder command _; do
        [ -f "$folder/$CERTIFICATE" ] || [ -f "$folder/$NEXT" ] || continue
        displace "$folder/$CERTIFICATE"
        displace "$folder/$NEXT"
        if [ "$folder" = "$DEBIAN" ]; then refresh "$command" --fresh; else refresh "$command"; fi
        forget_java "$folder"
    done <"$work/stores"
}

# Which container engines are here, and what is done for each.

ENGINES='docker containerd podman buildkit k3s kind minikube'
IMAGE=hello-world:latest

# Sets units (services of systemd), rootless (names of users whose docker runs as themselves), podman
# (0 or 1) and nodes (runtime:container of each node of a cluster that is a container).
find_engines() {
    units='' rootless='' podman=0 nodes='' engines=''
    is_wanted docker && find_docker
    is_wanted containerd && find_containerd
    is_wanted buildkit && find_units buildkit buildkit buildkitd
    # k3s and rke2 give what begins with CONTAINERD_ to their containerd alone.
    is_wanted k3s && find_units k3s k3s k3s-agent rke2-server rke2-agent
    if is_wanted podman && { command -v podman || command -v buildah || is_named podman; } >/dev/null; then
        podman=1 engines="$engines podman"
    fi
    is_wanted kind && find_nodes kind io.x-k8s.kind.cluster
    is_wanted minikube && find_nodes minikube created_by.minikube.sigs.k8s.io
    return 0
}

is_wanted() { [ -z "$only" ] || is_named "$1"; }
is_named() { case ,$only, in *,"$1",*) ;; *) false ;; esac }

is_unit() { unit=$1 && unit_files | grep -q '[.]service$'; }

# Those of the units $2... that are there; the first, where --for names the engine $1.
find_units() {
    engine=$1 first=$2
    shift
    for name; do
        if is_unit "$name"; then
            units="$units $name"
            case " $engines " in *" $engine "*) ;; *) engines="$engines $engine" ;; esac
        fi
    done
    case " $engines " in *" $engine "*) return ;; esac
    if is_named "$engine"; then units="$units $first" engines="$engines $engine"; fi
}

find_docker() {
    for path in /run/user/*/docker.sock; do
        [ -S "$path" ] || continue
        owner=$(say "$path" | cut -d / -f 4)
        [ "$owner" = 0 ] || rootless="$rootless $owner"
    done
    [ -z "$rootless" ] || engines="$engines docker(rootless)"
    # Where a user has docker, the system's may be asleep for good: it is taken if it is there.
    find_units docker docker
    if [ -d /run/snapd/ns ] && [ -e /run/snapd/ns/docker.mnt ]; then
        say "docker comes from a snap, which has trust and settings of its own: it is left out."
    fi
}

# Docker has a containerd that pulls nothing by itself.
find_containerd() {
    if is_named containerd || ! is_unit docker || command -v kubelet >/dev/null ||
        command -v nerdctl >/dev/null || command -v crictl >/dev/null; then
        find_units containerd containerd
    fi
}

report_engines() {
    for name in kind minikube; do
        if is_named "$name" && ! say "$nodes" | grep -q "$name:"; then
            die "no running nodes of $name (containers of docker or podman). Nothing was done."
        fi
    done
    if [ -z "$engines" ]; then
        say "No container engine is here: looked for $ENGINES." >&2
        if command -v dockerd >/dev/null; then
            say "(dockerd is here, but is no service of systemd: see docs/clients.md.)" >&2
        elif command -v docker >/dev/null; then
            say "(docker is here, but not its daemon: for Docker Desktop see" >&2
            say "http://$served/setup/docker-desktop.)" >&2
        fi
        die "to prepare a machine before its engine comes, name it: --for docker. Nothing was done."
    fi
    say "Found:$engines"
}

# Writes, or while $planning names, what each engine needs.
configure() {
    # A node has a store of its own.
    case $units$rootless$podman in 0) ;; *) place_certificate ;; esac
    for unit in $units; do place_unit; done
    [ -z "$rootless" ] || place_rootless
    [ "$podman" = 0 ] || place_podman
    for node in $nodes; do
        if [ "$planning" = 1 ]; then say "  in the node ${node##*:}: the same, by this script"; fi
    done
}

# Restarts what does not have yet what it should have, and only that.
restart_units() {
    for unit in $units; do restart_unit; done
    for owner in $rootless; do restart_rootless; done
    # In a node the script does all of it itself, the proof too.
    for node in $nodes; do set_up_node install || failed="$failed ${node##*:}"; done
}

# Proves for each engine that it uses the cache; status 1 where one does not.
prove() {
    wrong='' proven=0
    for unit in $units; do prove_unit || wrong="$wrong $unit"; done
    for owner in $rootless; do prove_rootless || wrong="$wrong docker(rootless)"; done
    if [ "$podman" = 1 ]; then prove_podman || wrong="$wrong podman"; fi
    if [ "$action" = check ]; then
        for node in $nodes; do set_up_node check || failed="$failed ${node##*:}"; done
    fi
    wrong="$wrong$failed"
    [ -z "$nodes" ] || proven=1
    report_builders
    say ''
    if [ -n "$wrong" ]; then
        say "NOT PROVEN for:$wrong. The lines above say why."
        return 1
    fi
    if [ -n "$late" ]; then
        say "Done. It counts once these are restarted: systemctl restart$late"
    elif [ -n "$waiting" ]; then
        say "Done. It counts once docker is restarted by its users."
    elif [ "$proven" = 0 ]; then
        say "Done. Nothing runs yet that would prove it; afterwards: --check"
    else
        say "All is well: pulls come by the cache at $address."
    fi
}

uninstall() {
    removed=0 reload=''
    for unit in $UNITS; do displace_unit; done
    displace_rootless
    displace_podman
    for node in $nodes; do set_up_node uninstall || true; done
    displace_certificate
    remove_folders
    if [ "$removed" = 0 ]; then
        say "Nothing to remove."
        return
    fi
    [ -n "$reload" ] || return 0
    reload_systemd
    say "What runs keeps it until it is restarted: systemctl restart$reload"
}

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

# podman and buildah, whoever runs them: their settings have an environment for the program itself
# (containers.conf(5), `env` of [engine]). docker without root: a drop-in for the services of users.

PODMAN_FILE=/etc/containers/containers.conf.d/$NAME
ROOTLESS_FILE=/etc/systemd/user/docker.service.d/$NAME

# What the file is. Without the second part podman would hand the proxy on to all containers.
podman_content() {
    say '# Written for Entrepôt; "setup --uninstall" removes it.'
    say '[engine]'
    printf 'env = ["HTTP_PROXY=%s", "HTTPS_PROXY=%s", "NO_PROXY=%s"]\n' "$proxy" "$proxy" "$exceptions"
    say '[containers]'
    say 'http_proxy = false'
}

place_podman() {
    for path in /etc/containers/containers.conf /etc/containers/containers.conf.d/*.conf; do
        if [ -f "$path" ] && [ "$path" != "$PODMAN_FILE" ] &&
            settings <"$path" | cut -f 1 | grep -qx 'engine[.]env'; then
            die "$path has env in [engine], which $PODMAN_FILE would replace: put
  HTTPS_PROXY=$(say "$proxy" | redact) there, and use --for for the others. Nothing was done."
        fi
    done
    had=''
    if [ -z "$no_proxy" ] && [ -f "$PODMAN_FILE" ]; then
        had=$(sed -n 's/.*"NO_PROXY=\([^"]*\)".*/\1/p' "$PODMAN_FILE")
    fi
    exceptions=$(merge "$LOCAL" "$no_proxy,$had")
    mode=644
    [ -z "$user" ] || mode=600
    podman_content >"$work/podman"
    place "$PODMAN_FILE" $mode <"$work/podman"
    if [ "$planning" = 1 ] && grep -qi '^[^#]*https_proxy=' /etc/environment 2>/dev/null; then
        say "      /etc/environment sets HTTPS_PROXY, which counts before this file where podman has it"
    fi
}

# Has podman ask for the image's manifest, and looks whether the cache counted it.
prove_podman() {
    if ! command -v podman >/dev/null; then
        say "podman: is not here, so nothing is proven; buildah reads the same file"
        return
    fi
    [ -f "$PODMAN_FILE" ] || {
        say "podman: $PODMAN_FILE is not there: run the set-up"
        return 1
    }
    name=$image
    case $registry in registry-1.docker.io:443) case $name in */*) ;; *) name=library/$name ;; esac ;; esac
    case $registry$name in
        registry-1.docker.io:443docker.io/*) ;;
        registry-1.docker.io:443*) name=docker.io/$name ;;
    esac
    counted=$(count) again=$(count) asked=0
    said=$(
        unset HTTPS_PROXY HTTP_PROXY ALL_PROXY NO_PROXY https_proxy http_proxy all_proxy no_proxy
        podman manifest inspect "$name" 2>&1 >/dev/null
    ) || asked=$?
    # The manifest of a single image came, where it wants a list.
    case $said in *'parsing manifest blob'*) asked=0 ;; esac
    if [ "$(count)" = "$again" ]; then
        say "podman: asked for $name, and it did not come to the cache at $address: $(say "$said" | tail -n 1)"
        return 1
    elif [ "$asked" != 0 ]; then
        say "podman: asked the cache for $name in vain: $(say "$said" | tail -n 1)"
        return 1
    elif [ "$counted" != "$again" ]; then
        say "podman: asked for $name, and was answered; others use the cache too, so it proves nothing"
        return
    fi
    proven=1
    say "podman: asked for $name, and was answered by the cache at $address, which counted it"
}

displace_podman() { displace "$PODMAN_FILE"; }

# docker without root

place_rootless() {
    had=''
    for owner in $rootless; do
        pid=$(rootless_pid)
        [ -z "$pid" ] || had=$had,$(variable_of "$pid" NO_PROXY no_proxy | tr -cd 'A-Za-z0-9.,:/*_[]-')
    done
    prefix=''
    exceptions=$(merge "$LOCAL,$no_proxy" "$(exceptions_of "$ROOTLESS_FILE"),$had")
    mode=644
    [ -z "$user" ] || mode=600
    rootless_exceptions=$exceptions
    content >"$work/dropin"
    place "$ROOTLESS_FILE" $mode <"$work/dropin"
}

# The dockerd of the user $owner (a number).
rootless_pid() {
    for path in /proc/[0-9]*; do
        if [ "$(cat "$path/comm" 2>/dev/null)" = dockerd ] &&
            [ "$(sed -n 's/^Uid:[^0-9]*\([0-9]*\).*/\1/p' "$path/status" 2>/dev/null)" = "$owner" ]; then
            say "${path#/proc/}"
            break
        fi
    done
}

restart_rootless() {
    name=$(id -nu "$owner")
    pid=$(rootless_pid)
    if [ -z "$pid" ]; then
        say "The docker of $name does not run: it has this when it is started."
    elif [ "$(variable_of "$pid" HTTPS_PROXY)$(variable_of "$pid" NO_PROXY)" = "$proxy$rootless_exceptions" ] &&
        ! is_older_than_certificates "$pid"; then
        say "The docker of $name has all of it already: not restarted."
    elif [ "$restart" = 1 ] && has_systemd &&
        systemctl --user --machine="$name@.host" daemon-reload 2>/dev/null &&
        systemctl --user --machine="$name@.host" restart docker 2>/dev/null; then
        say "Restarted the docker of $name"
    else
        say "The docker of $name is to be restarted, by $name:"
        say "  systemctl --user daemon-reload && systemctl --user restart docker"
        waiting="$waiting $owner"
    fi
}

prove_rootless() {
    case " $waiting " in *" $owner "*) return ;; esac
    name=$(id -nu "$owner")
    pid=$(rootless_pid)
    if [ -z "$pid" ] && [ "$action" = install ]; then
        say "docker of $name: does not run, so nothing is proven yet"
        return
    fi
    if [ -n "$pid" ] && [ "$(bare "$(variable_of "$pid" HTTPS_PROXY)")" = "$(bare "$proxy")" ]; then
        proven=1
        say "docker of $name: the running daemon has the proxy"
        return
    fi
    say "docker of $name: the running daemon does not have the proxy"
    return 1
}

displace_rootless() {
    displace "$ROOTLESS_FILE"
}

# Nodes of kind and minikube that are containers, with an engine of their own; builders of buildx.

# Adds the running nodes of the kind $1, which have the label $2.
find_nodes() {
    for runtime in docker podman; do
        command -v "$runtime" >/dev/null || continue
        # Asked before it ever ran anything, podman makes folders.
        [ "$runtime" = docker ] || [ -d /run/libpod ] || continue
        for name in $("$runtime" ps --filter "label=$2" --format '{{.Names}}' 2>/dev/null || true); do
            case $name in *[!A-Za-z0-9_.-]*) continue ;; esac
            nodes="$nodes $1:$runtime:$name"
            case " $engines " in *" $1 "*) ;; *) engines="$engines $1" ;; esac
        done
    done
}

# Runs this script in the node $node (kind:runtime:name), as the proxy gives it.
set_up_node() {
    name=${node##*:} runtime=${node#*:}
    runtime=${runtime%:*}
    case $host in
        '')
            say "$name: not looked at, without --proxy"
            return 1
            ;;
        localhost | 127.* | \[::1\])
            say "$name: in a node $host is the node itself: use an address of the proxy that leads to it"
            return 1
            ;;
    esac
    fetch "http://$address/setup" "$work/setup.sh" 20 1 || {
        say "$name: http://$address/setup does not answer"
        return 1
    }
    coming=''
    [ ! -f "$work/next.pem" ] || coming=$other
    case $1 in
        install) set -- --fingerprint "$fingerprint" ${coming:+--fingerprint "$coming"} --image "$image" ${no_proxy:+--no-proxy "$no_proxy"} ;;
        check) set -- --check --image "$image" ;;
        *) set -- --uninstall ;;
    esac
    done=0
    "$runtime" exec -i "$name" sh -s -- "$@" <"$work/setup.sh" >"$work/node" 2>&1 || done=$?
    say "$name:"
    # Of what a container says only text, and nothing that moves a terminal.
    LC_ALL=C tr -d '\000-\010\013-\037\177' <"$work/node" | sed 's/^/  /'
    return $done
}

# A builder that is a container has neither this machine's certificate nor its proxy.
report_builders() {
    command -v docker >/dev/null || return 0
    for name in $(docker ps --filter name=buildx_buildkit_ --format '{{.Names}}' 2>/dev/null || true); do
        say "$name: a builder of buildx in a container of its own, which no setting of this machine"
        say "  reaches: make it anew, as http://$address/setup/buildkitd.toml says"
    done
}

usage() {
    cat <<END
usage: curl -fsS http://${SERVED_BY:-CACHE:3128}/setup | sudo sh -s -- --fingerprint SHA256 [OPTION...]
       sudo sh setup.sh [--proxy http://CACHE:3128] --fingerprint SHA256 [OPTION...]

Makes the container engines of this machine pull by the cache, and proves that they do.

  --fingerprint SHA256   the certificate must be this one (\`entrepot ca show\` on the proxy prints it);
                         colons or not; twice, for both, while the proxy changes its authority
  --trust-on-first-use   without a fingerprint: take the certificate that comes, if there is none yet
  --for LIST             these alone, between commas: $ENGINES;
                         unless given, those that are found
  --no-proxy LIST        hosts that are not asked for by the cache, besides those that an engine has
  --image IMAGE          the proof: the engine asks for this image's manifest ($IMAGE)
  --no-restart           write, but restart nothing; says what to restart
  --proxy URL            another address of the proxy, or one with http://user:password@
  --dry-run              say what would be written and restarted, and do nothing
  --check                say whether all is as it should be; exit status 1 where it is not
  --uninstall            remove what was written, and put back what was there
END
}

# A word of the command line that means nothing, and what there is.
misunderstood() {
    say "setup: $1" >&2
    misuse
}

# Where a user without rights is told what to type.
need_rights() {
    if [ "$(id -u)" != 0 ]; then
        say "setup: it writes to /etc and restarts services. Put sudo before sh:" >&2
        say "  curl -fsS http://$served/setup | sudo sh -s -- $words" >&2
        say "To see what it would do, no root is needed: add --dry-run." >&2
    fi
    need_root "this"
}

read_options() {
    action=install expected='' first_use=0 only='' no_proxy='' image=$IMAGE restart=1 given=$SERVED_BY
    words=$*
    while [ $# -gt 0 ]; do
        case $1 in
            --*=*)
                word=$1
                shift
                set -- "${word%%=*}" "${word#*=}" "$@"
                ;;
        esac
        case $1 in
            --fingerprint | --for | --no-proxy | --image | --proxy)
                [ $# -gt 1 ] || misunderstood "$1 wants a value"
                case $1 in
                    --fingerprint)
                        expected="${expected:+$expected }$(fingerprints "$2")" || exit 1
                        ;;
                    --for) only=$only,$2 ;;
                    --no-proxy) no_proxy=$2 ;;
                    --image) image=$2 ;;
                    *) given=$2 ;;
                esac
                shift
                ;;
            --trust-on-first-use) first_use=1 ;;
            --no-restart) restart=0 ;;
            --dry-run | --check | --uninstall)
                [ "$action" = install ] || misunderstood "$1 and --$action exclude each other"
                action=${1#--}
                ;;
            *) misunderstood "there is no option '$1'" ;;
        esac
        shift
    done
    case $no_proxy in
        *[!A-Za-z0-9.,:/*_\ \[\]-]*) die "got --no-proxy '$no_proxy', want hosts between commas" ;;
    esac
    registry_of "$image"
    for engine in $(say "$only" | tr ',' ' '); do
        case " $ENGINES " in
            *" $engine "*) ;;
            *) die "got --for '$engine', want some of: $ENGINES" ;;
        esac
    done
}

# Says what is going to be written, all of it before any of it is.
plan() {
    planning=1
    say ''
    say "To be written:"
    configure
}

how_to_trust() { say "run the set-up, http://$address/setup"; }

install_all() {
    reach_proxy
    plan
    say ''
    say "Writing:"
    planning=0 written=0
    configure
    [ "$written" = 1 ] || say "  Nothing had to be written."
    say ''
    restart_units
    say ''
    prove
}

main() {
    help_if_asked "$@"
    read_options "$@"
    served=${SERVED_BY:-CACHE:3128} prefix='' user='' unit=docker
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    [ "$(uname -s)" = Linux ] ||
        die "this is for Linux; for Docker Desktop: http://$served/setup/docker-desktop"
    case $action in install | uninstall) need_rights ;; esac
    host='' late='' waiting='' failed=''
    [ -z "$given" ] || parse_proxy "$given"
    find_engines
    if [ "$action" = uninstall ]; then
        uninstall
        exit
    fi
    [ -n "$given" ] || die "want --proxy http://CACHE:3128: this copy does not come from a proxy"
    report_engines
    case $action in
        check)
            reach_proxy
            prove
            ;;
        dry-run)
            reach_proxy
            plan
            say ''
            say "Nothing was done (--dry-run)."
            ;;
        install) install_all ;;
    esac
    exit
}

main "$@" </dev/null
