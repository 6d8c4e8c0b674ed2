# The address as it is given: host, host:port or http://host:port. Where it is none of these, the
# message quotes $shown and says what is $wanted.

# Sets rest to the text $1 without http:// and without a slash at its end.
strip_scheme() {
    case $1 in
        http://*) rest=${1#http://} && rest=${rest%/} ;;
        *://*) die "got '$shown', $wanted" ;;
        *) rest=$1 ;;
    esac
}

# Sets host and port from $rest; the port is $1 unless it says one.
split_host_port() {
    case $rest in
        \[*\]:*) host=${rest%:*} && port=${rest##*:} ;;
        \[*\]) host=$rest && port=$1 ;;
        *:*:*) die "got '$shown', $wanted; an IPv6 address in brackets" ;;
        *:*) host=${rest%:*} && port=${rest##*:} ;;
        *) host=$rest && port=$1 ;;
    esac
    case $host in
        \[*[!0-9A-Fa-f:.]*\] | '') die "got '$shown', $wanted" ;;
        \[*\]) ;;
        -* | *[!A-Za-z0-9._-]*) die "got '$shown', $wanted" ;;
    esac
    case $port in '' | *[!0-9]* | ??????*) die "got port '$port', want 1 to 65535" ;; esac
    if [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then die "got port '$port', want 1 to 65535"; fi
}
