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
