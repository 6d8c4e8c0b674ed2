# Whether the running daemon of $unit trusts the proxy.

# Whether the daemon trusts the certificate in $work/ca.pem, as far as files (status 1) and dates
# (status 2) tell.
report_trust() {
    shown=$(say "$fingerprint" | colons)
    found=$(root_file "$work/ca.pem" "$cert_file" "$cert_folders")
    if [ -n "$found" ]; then
        # A bundle is made anew at each update, so the date of our own file says more.
        stores | while read -r folder _; do say "$folder/entrepot.crt"; done >"$work/anchors"
        since=$found
        while read -r anchor; do
            if [ -f "$anchor" ] && [ "$(body "$anchor")" = "$(body "$work/ca.pem")" ]; then since=$anchor; fi
        done <"$work/anchors"
        if [ -n "$pid" ] && is_newer "$pid" "$since"; then
            say "$unit: the running daemon was started before the proxy's certificate came ($since),"
            say "  and reads what it trusts once: systemctl restart $unit"
            return 2
        fi
        say "The proxy's certificate is trusted ($found)."
        return
    fi
    docker_only=''
    [ "$unit" != docker ] || docker_only=$(docker_folder)
    if [ -n "$docker_only" ]; then
        say "docker trusts the proxy's certificate for ${registry%:443} ($docker_only)."
        cert_file=$docker_only
        return
    fi
    say "The proxy's certificate, $shown,"
    say "  is not in what $unit trusts: $(how_to_trust)"
    return 1
}

# Docker's folder for the registry alone, if a file in it is the proxy's certificate.
docker_folder() {
    case $registry in *docker.io:443) return ;; esac
    for path in "/etc/docker/certs.d/${registry%:443}"/*.crt "/etc/docker/certs.d/$registry"/*.crt; do
        if [ -f "$path" ] && [ "$(body "$path")" = "$(body "$work/ca.pem")" ]; then
            say "$path"
            break
        fi
    done
}
