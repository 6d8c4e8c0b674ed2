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
