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
