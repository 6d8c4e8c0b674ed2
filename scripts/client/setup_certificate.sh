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
