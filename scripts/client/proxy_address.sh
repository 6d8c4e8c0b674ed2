# The proxy's address as it is given, with a login for it or without.

# Passwords are for the drop-in alone.
redact() { sed 's#^\([a-z0-9]*://\)\{0,1\}.*@#\1***@#'; }

# Sets address (host:port) and proxy (the URL) from PROXY.
parse_proxy() {
    wanted="want host, host:port or http://[user:password@]host:port"
    shown=$(say "$1" | redact)
    strip_scheme "$1"
    user=''
    case $rest in *@*) user=${rest%@*} && rest=${rest##*@} ;; esac
    # The characters of RFC 3986 section 3.2.1, and whole percent-encoded bytes.
    case $user in
        *[!A-Za-z0-9._~!\$\&\'\(\)*+,\;=:%-]* | *% | *%? | *%[!0-9A-Fa-f]* | *%?[!0-9A-Fa-f]*)
            die "the user or the password in '$shown' must be percent-encoded"
            ;;
    esac
    split_host_port 3128
    address=$host:$port
    proxy=http://${user:+$user@}$address
}
