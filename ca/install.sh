#!/bin/sh
# Made by scripts/build-client-scripts from scripts/client/install.sh.in: change it there.
#
# Makes this machine trust the certificate of an Entrepôt proxy, says whether it does, or undoes it.
#
# Everything it writes is called entrepot.crt or entrepot-next.crt, so that it knows its own files and
# no others. It needs no openssl: a certificate's digest, kind and expiry are read from its DER bytes.
# Only whether one certificate vouches for another it asks openssl.

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

NAME=entrepot.crt
# The certificate that a proxy is about to change to.
NEXT=entrepot-next.crt
DOCKER_CERTS=/etc/docker/certs.d

usage() {
    cat <<END
usage: $0 install (--url http://PROXY:3128 | --file CA.pem) [--fingerprint SHA256]
                  [--docker-only HOST...]
       $0 check [--url http://PROXY:3128 | --file CA.pem] [--fingerprint SHA256]
       $0 uninstall

install    puts the proxy's certificate into the system's trust store, which docker, containerd,
           podman, curl and most else read; with --docker-only into $DOCKER_CERTS/HOST alone.
           While the proxy changes its authority, both certificates.
           With --fingerprint (run \`entrepot ca show\` on the proxy to see it) another
           certificate is refused, unless the one that has it vouches for the other, which takes
           openssl. The option can be given twice.
check      says where the certificate is installed, and whether docker and containerd were
           started since; exit status 1 where something is wrong.
           With --url, --file or --fingerprint it must be that certificate, or those.
uninstall  removes what install wrote, and folders under $DOCKER_CERTS that are empty then.
END
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

# Brings the certificates of --url or --file to $work/ca.pem and next.pem, without the text around them.
# Of an address the page is asked with $1 behind it: who does not install does not count as ready.
obtain() {
    given=$file
    if [ -n "$url" ]; then
        given=$work/fetched
        command -v curl >/dev/null || command -v wget >/dev/null ||
            die "neither curl nor wget is installed: copy the certificate here and use --file"
        # 20 tries are wget's own default.
        fetch "${url%/}/ca.pem$1" "$given" 60 20 || die "cannot fetch ${url%/}/ca.pem: is the proxy running?"
    fi
    [ -f "$given" ] || die "there is no file $given"
    take_certificates "$given" || die "$problem"
}

# Compares with --fingerprint; without it, says that nobody has compared.
verify() {
    trusted=$expected judged=0
    if [ -z "$expected" ]; then
        say "SHA-256 fingerprint: $(say "$fingerprint" | colons)"
        [ ! -f "$work/next.pem" ] || say "and of the certificate to come: $(say "$other" | colons)"
        say "NOT VERIFIED: whoever answers on this network could have sent another certificate."
        say "Compare it with what \`entrepot ca show\` prints on the proxy, or give it as --fingerprint."
        return
    fi
    keep_trusted || judged=$?
    case $judged in
        1) die "the certificate has the fingerprint
  $(say "$fingerprint" | colons)
and not, as --fingerprint wants,
  $(say "$expected" | colons)
Nothing was done." ;;
        2) die "the proxy signs by the certificate with the fingerprint
  $(say "$fingerprint" | colons);
$problem. Nothing was done." ;;
    esac
    if is_trusted "$fingerprint"; then
        say "The fingerprint is as expected."
    else
        say "The certificate with that fingerprint vouches for the one that the proxy signs by:"
        say "  $(say "$fingerprint" | colons)"
    fi
    if [ -n "$left_out" ]; then
        say "LEFT OUT: the certificate that the proxy is about to change to, with the fingerprint"
        say "  $(say "$left_out" | colons),"
        say "since there is no openssl to see whether the other vouches for it. Give --fingerprint twice,"
        say "for both, before the proxy changes (run \`entrepot ca show\` there)."
    elif [ -f "$work/next.pem" ]; then
        say "The certificate that the proxy is about to change to is vouched for as well:"
        say "  $(say "$other" | colons)"
    fi
}

# Writes the certificates into the folder $1 and says so.
put() {
    put_file "$work/ca.pem" "$1/$NAME"
    if [ -f "$work/next.pem" ]; then
        put_file "$work/next.pem" "$1/$NEXT"
    elif [ -f "$1/$NEXT" ] && [ -z "$left_out" ]; then
        rm -f "$1/$NEXT"
        say "Removed $1/$NEXT: the proxy does not announce it any more"
    fi
}

put_file() {
    if [ -f "$2" ] && cmp -s "$1" "$2"; then
        say "$2 is there already."
        return
    fi
    replace_file "$2" 644 <"$1"
    say "Wrote $2"
}

install_system() {
    found=$(store)
    [ -n "$found" ] || die "no trust store that I know: install the package ca-certificates first"
    # shellcheck disable=SC2086 # three words without blanks in them
    set -- $found
    # Without --fresh Debian's links to a file that is gone stay.
    had_next=0
    [ ! -f "$1/$NEXT" ] || had_next=1
    put "$1"
    if [ "$had_next" = 1 ] && [ ! -f "$1/$NEXT" ] && [ "$1" = "$DEBIAN" ]; then
        refresh "$2" --fresh
    else
        refresh "$2"
    fi
    say "Next:"
    if command -v dockerd >/dev/null; then
        say "  docker reads the store once, when it starts: systemctl restart docker"
    fi
    if command -v containerd >/dev/null; then
        say "  containerd too: systemctl restart containerd"
    fi
    say "  podman, skopeo, buildah and curl read it at every run: nothing to do"
    say "  point the daemons to the proxy: scripts/docker-proxy.sh install PROXY:3128"
}

is_hub() {
    case $(say "${1%:*}" | tr '[:upper:]' '[:lower:]') in docker.io | *.docker.io) ;; *) false ;; esac
}

refuse_hub() {
    if is_hub "$1"; then
        die "dockerd ignores $DOCKER_CERTS for Docker Hub under every name (docker.io, \
registry-1.docker.io, index.docker.io): install without --docker-only. Nothing was done."
    fi
}

install_docker_only() {
    for host; do
        folder=$DOCKER_CERTS/$host
        mkdir -p "$folder"
        put "$folder"
    done
    say "docker reads it at the next pull. It does so for these hosts alone, never for Docker Hub;"
    say "with docker's containerd image store, not for token servers on other hosts either."
}

# One line about an installed certificate $1, whose fingerprint is added to installed; status 1 where
# it is not as it should be.
report() {
    if ! inspect "$1"; then
        say "$1: $problem"
        return 1
    fi
    installed="$installed $fingerprint"
    say "$1: $(say "$fingerprint" | colons), expires $(day "$expires")"
}

# Status 1 where one of the fingerprints $expected is not among those that are installed in folder $1.
report_missing() {
    trusted=$installed missing=0
    for fingerprint in $expected; do
        is_trusted "$fingerprint" && continue
        missing=1
        if [ "$fingerprint" = "$next" ]; then
            say "$1: lacks the certificate that the proxy is about to change to: $(say "$next" | colons)"
        else
            say "$1: is not the certificate asked for: $(say "$fingerprint" | colons)"
        fi
    done
    trusted=$expected
    for fingerprint in $installed; do
        if [ "$missing" = 0 ] && [ -n "$expected" ] && ! is_trusted "$fingerprint"; then
            say "$1: not needed any more, install again removes it: $(say "$fingerprint" | colons)"
        fi
    done
    return $missing
}

# One line about the bundle $1, which must hold the certificate $2.
report_bundle() {
    if tr -d '\r\n' <"$1" 2>/dev/null | grep -qF "$(body "$2")"; then
        return
    fi
    say "$1: does not hold it: run $3"
    return 1
}

# One line for each daemon that was started before the certificate $1 came: it reads the store once.
# Status 1 where one of them uses a proxy, or is docker, which has no other use for it.
report_daemons() {
    older=0
    for unit in docker containerd; do
        pid=$(main_pid "$unit")
        if [ -z "$pid" ] || ! is_newer "$pid" "$1"; then continue; fi
        case $unit$(variable_of "$pid" HTTPS_PROXY https_proxy 2>/dev/null) in
            containerd) say "$unit was started before it came, but has no proxy set: restart it if it pulls" ;;
            *)
                say "$unit was started before it came, and reads the store once: systemctl restart $unit"
                older=1
                ;;
        esac
    done
    return $older
}

check() {
    next=''
    if [ -n "$url$file" ]; then
        obtain '?check'
        [ -z "$expected" ] || verify
        expected=$fingerprint
        [ ! -f "$work/next.pem" ] || next=$other
        expected="$expected${next:+ $next}"
    fi
    stores >"$work/stores"
    anywhere=0 system=0 wrong=0
    while read -r folder command bundle; do
        has_ours "$folder" || { [ -d "$folder" ] && command -v "$command" >/dev/null; } || continue
        if ! has_ours "$folder"; then
            say "$folder/$NAME: not installed"
            continue
        fi
        anywhere=1 system=1 installed=''
        for path in "$folder/$NAME" "$folder/$NEXT"; do
            [ -f "$path" ] || continue
            report "$path" || wrong=1
            report_bundle "$bundle" "$path" "$command" || wrong=1
            report_daemons "$path" || wrong=1
        done
        report_missing "$folder/$NAME" || wrong=1
    done <"$work/stores"
    for folder in "$DOCKER_CERTS"/*; do
        has_ours "$folder" || continue
        anywhere=1 installed='' host=${folder##*/}
        for path in "$folder/$NAME" "$folder/$NEXT"; do
            [ ! -f "$path" ] || report "$path" || wrong=1
        done
        report_missing "$folder/$NAME" || wrong=1
        if is_hub "$host"; then
            say "$folder/$NAME: dockerd ignores it: for Docker Hub only the system's store counts"
            wrong=1
        elif [ "$system" = 0 ]; then
            say "$folder/$NAME: docker trusts it for $host alone; Docker Hub is not cached"
        fi
    done
    [ "$anywhere" = 1 ] || say "No certificate of an Entrepôt proxy is installed here."
    [ "$anywhere$wrong" = 10 ]
}

has_ours() { [ -f "$1/$NAME" ] || [ -f "$1/$NEXT" ]; }

uninstall() {
    removed=0
    stores >"$work/stores"
    while read -r folder command bundle; do
        has_ours "$folder" || continue
        remove_from "$folder"
        if [ "$folder" = "$DEBIAN" ]; then
            # Without --fresh the links to a file that is gone stay.
            refresh "$command" --fresh
        else
            refresh "$command"
        fi
        forget_java "$folder"
    done <"$work/stores"
    for folder in "$DOCKER_CERTS"/*; do
        has_ours "$folder" || continue
        remove_from "$folder"
        rmdir "$folder" "$DOCKER_CERTS" "${DOCKER_CERTS%/*}" 2>/dev/null || true
    done
    if [ "$removed" = 0 ]; then
        say "Nothing to remove."
    else
        say "docker and containerd forget it when they restart: systemctl restart docker"
    fi
}

# Removes what is ours from the folder $1.
remove_from() {
    removed=1
    for path in "$1/$NAME" "$1/$NEXT"; do
        [ -f "$path" ] || continue
        rm -f "$path"
        say "Removed $path"
    done
}

main() {
    help_if_asked "$@"
    [ $# -gt 0 ] || misuse
    action=$1
    shift
    url='' file='' words='' docker_only=0 hosts='' left_out=''
    while [ $# -gt 0 ]; do
        case $1 in
            --url | --file | --fingerprint)
                [ $# -gt 1 ] || misuse
                case $1 in
                    --url) url=$2 ;;
                    --file) file=$2 ;;
                    *) words="$words $(say "$2" | tr -d ' ')" ;;
                esac
                shift
                ;;
            --docker-only) docker_only=1 ;;
            -*) misuse ;;
            *)
                [ "$docker_only" = 1 ] || misuse
                case $1 in
                    .* | *[!A-Za-z0-9._:-]*) die "got '$1', want a host or host:port" ;;
                esac
                hosts="$hosts $1"
                ;;
        esac
        shift
    done
    [ -z "$url" ] || [ -z "$file" ] || misuse
    case $url in
        '' | http://?* | https://?*) ;;
        *) die "got --url '$url', want http://PROXY:3128" ;;
    esac
    # shellcheck disable=SC2086 # words without blanks in them
    expected=$(fingerprints $words) || exit
    expected=$(say "$expected" | paste -s -d ' ' -)
    [ "$docker_only" = 0 ] || [ "$action$hosts" != install ] || misuse

    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    case $action in
        install)
            [ -n "$url$file" ] || misuse
            for host in $hosts; do refuse_hub "$host"; done
            need_root install
            obtain ''
            verify
            # shellcheck disable=SC2086 # names without blanks in them
            if [ "$docker_only" = 1 ]; then install_docker_only $hosts; else install_system; fi
            ;;
        check)
            [ "$docker_only" = 0 ] || misuse
            check
            ;;
        uninstall)
            [ "$docker_only$url$file$expected" = 0 ] || misuse
            need_root uninstall
            uninstall
            ;;
        *) misuse ;;
    esac
}

main "$@"
