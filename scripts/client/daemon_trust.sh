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
