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
