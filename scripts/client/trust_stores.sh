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
