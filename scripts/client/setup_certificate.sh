# The proxy and its certificate: whether it answers, and whether the certificate is the right one.

CERTIFICATE=entrepot.crt
OWN_COPY=$OURS/certs/$CERTIFICATE

# Brings the certificate to $work/ca.pem, and asks a registry through the proxy by it, before anything
# is written. Sets fingerprint.
reach_proxy() {
    command -v curl >/dev/null || command -v wget >/dev/null ||
        die "neither curl nor wget is installed: install one of them. Nothing was done."
    fetch "http://$address/ca.pem" "$work/fetched" 20 1 ||
        die "http://$address/ca.pem does not answer: is the proxy running, and does a firewall let \
this machine to it? Nothing was done."
    inspect "$work/fetched" || die "$problem: that is no Entrepôt. Nothing was done."
    tr -d '\r' <"$work/fetched" | sed -n '/^-----BEGIN/,/^-----END/p' >"$work/ca.pem"
    say "The cache at $address answers. Its certificate, SHA-256:"
    say "  $(say "$fingerprint" | colons), expires $(day "$expires")"
    found=$fingerprint
    [ -z "$expected" ] || [ "$found" = "$expected" ] || refuse "--fingerprint wants" "$expected"
    status=0
    ask_through "${registry%:443}" "$proxy" "$work/ca.pem" || status=$?
    case $status in
        1)
            die "https://${registry%:443}/v2/ through the proxy: somebody else's certificate: \
$(grep . "$work/said" | sed -n '$p'). Nothing was done."
            ;;
        2)
            die "https://${registry%:443}/v2/ through the proxy: $(grep . "$work/said" | sed -n '$p'). \
Where the proxy wants a password, give --proxy http://user:password@$address. Nothing was done."
            ;;
        0)
            if tr -d '\r' <"$work/head" | grep -qi '^ *cache-status: *entrepot'; then
                say "It answers for ${registry%:443} through the proxy."
            else
                say "It tunnels ${registry%:443}: this registry is not cached (see --image)."
            fi
            ;;
        3) say "Not asked for ${registry%:443} through the proxy, for want of curl or GNU's wget." ;;
    esac
}

# What a wrong fingerprint means, for the one who is to decide: $1 and $2 are what it is not.
refuse() {
    die "the certificate that http://$address/ca.pem gives has the fingerprint
  $(say "$found" | colons)
and not, as $1,
  $(say "$2" | colons)
Who has the key of this certificate can pretend to be any website to this machine. So it may be that
the proxy's authority was made anew, or that another machine answers in its place. Run \`entrepot ca
show\` on the proxy: if it prints the first one, run this again with --fingerprint and that one.
Nothing was done."
}

# Refuses a certificate that nobody has compared, or that is another than the one that is installed.
verify_certificate() {
    earlier=$(earlier_fingerprint)
    if [ -n "$expected" ]; then
        say "The fingerprint is as expected."
        if [ -n "$earlier" ] && [ "$earlier" != "$found" ]; then
            say "It takes the place of $(say "$earlier" | colons)."
        fi
    elif [ -n "$earlier" ]; then
        [ "$earlier" = "$found" ] || refuse "is installed here" "$earlier"
        say "The fingerprint is that of the certificate that is installed here."
    elif [ "$first_use" = 1 ]; then
        say "NOT VERIFIED: whoever answers on this network could have sent another certificate."
    else
        say "Nobody has compared this fingerprint. Who has the key of this certificate can pretend to be"
        say "any website to this machine, and whoever answers on this network could have sent it."
        say "Compare it with what \`entrepot ca show\` prints on the proxy, then run"
        say "  curl -fsS http://$address/setup | sudo sh -s -- --fingerprint $(say "$found" | colons)"
        die "want --fingerprint, or --trust-on-first-use if this network is trusted. Nothing was done."
    fi
    fingerprint=$found
}

# The fingerprint of the certificate that an earlier run installed; nothing where there is none.
earlier_fingerprint() {
    for path in "$OWN_COPY" "$(store | cut -d ' ' -f 1)/$CERTIFICATE"; do
        if [ -f "$path" ]; then
            body "$path" | base64 -d 2>/dev/null | sha256sum | cut -c 1-64
            break
        fi
    done
}

# Writes the certificate to the system's trust store and to a place that is the same everywhere.
place_certificate() {
    stored=$(store)
    [ -n "$stored" ] || die "no trust store that I know: install the package ca-certificates first"
    # shellcheck disable=SC2086 # three words without blanks in them
    set -- $stored
    place "$OWN_COPY" 644 <"$work/ca.pem"
    changed=0
    place "$1/$CERTIFICATE" 644 <"$work/ca.pem"
    [ "$planning" = 0 ] || return 0
    if [ "$changed" = 1 ] || ! tr -d '\r\n' <"$3" 2>/dev/null | grep -qF -- "$(body "$work/ca.pem")"; then
        refresh "$2"
    fi
}

displace_certificate() {
    displace "$OWN_COPY"
    stores >"$work/stores"
    while read -r folder command _; do
        [ -f "$folder/$CERTIFICATE" ] || continue
        displace "$folder/$CERTIFICATE"
        # Without --fresh Debian's links to a file that is gone stay.
        if [ "$folder" = "$DEBIAN" ]; then refresh "$command" --fresh; else refresh "$command"; fi
        forget_java "$folder"
    done <"$work/stores"
}
