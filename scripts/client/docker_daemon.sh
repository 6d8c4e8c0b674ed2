# What docker's daemon says of itself, at its socket.
DOCKER_SOCKET=/run/docker.sock

# Prints dockerd's value of HttpProxy, HttpsProxy or NoProxy ($1), with the password left out. It may
# come from daemon.json (`proxies`) or from an option: both count before the environment.
docker_setting() {
    [ -S "$DOCKER_SOCKET" ] || return 0
    if command -v curl >/dev/null; then
        curl -q -sS --max-time 10 --unix-socket "$DOCKER_SOCKET" http://localhost/info 2>/dev/null |
            sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
    elif command -v docker >/dev/null; then
        field=$(say "$1" | sed 's/Http/HTTP/; s/HTTPs/HTTPS/')
        DOCKER_HOST=unix://$DOCKER_SOCKET docker info --format "{{.$field}}" 2>/dev/null || true
    fi
}

# Sets registry (host:port) from the image name $1.
registry_of() {
    case $1 in
        *[!A-Za-z0-9._:/@-]* | '' | /* | -*) die "got image '$1', want a name such as debian:12" ;;
    esac
    registry=${1%%/*}
    case $1 in */*) ;; *) registry=docker.io ;; esac
    case $registry in
        *.* | *:* | localhost) ;;
        *) registry=docker.io ;;
    esac
    case $registry in docker.io | index.docker.io) registry="registry-1.docker.io" ;; esac
    case $registry in *:*) ;; *) registry=$registry:443 ;; esac
}

# Has dockerd ask for the manifest of the image $1, and says what came of it; status 1 where it does
# not come to the cache at $address. The proxy counts what comes to it.
report_question() {
    if ! [ -S "$DOCKER_SOCKET" ] || ! command -v curl >/dev/null; then
        say "docker: not asked for $1: that takes $DOCKER_SOCKET and curl"
        return 1
    fi
    counted=$(count) again=$(count)
    code=$(curl -q -sS --max-time 60 --unix-socket "$DOCKER_SOCKET" -o "$work/answer" \
        -w '%{http_code}' "http://localhost/distribution/$1/json" 2>/dev/null) || code=000
    message=$(sed -n 's/^{"message":"\(.*\)"}$/\1/p' "$work/answer" 2>/dev/null)
    case $code$message in
        *x509* | *certificate*)
            say "docker: the daemon does not trust the proxy's certificate: systemctl restart docker"
            say "  It says: $message"
            return 1
            ;;
        200*) say "docker: the daemon asked for $1, and was answered" ;;
        401* | 403* | 404*) say "docker: the daemon asked for $1, and was refused: $message" ;;
        *)
            say "docker: the daemon asked for $1 in vain ($code): $message"
            return 1
            ;;
    esac
    if [ "$(count)" = "$again" ]; then
        say "  It did not come to the cache at $address, which counted nothing meanwhile."
        return 1
    elif [ "$counted" != "$again" ]; then
        say "  Others use the cache at this moment, so what it counted proves nothing."
    else
        say "  It came to the cache at $address, which counted it."
    fi
}

# What the proxy has counted so far.
count() {
    fetch "http://$address/healthz" "$work/counted" 10 1 || true
    sed 's/.*"counters"//; s/}.*//' "$work/counted"
}
