# fetch URL FILE SECONDS TRIES: gets the URL into the file. TRIES is for GNU's wget alone: curl and
# busybox's wget try once. The proxy is asked directly: a proxy setting of this machine is not for it.
fetch() {
    unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
    if command -v curl >/dev/null; then
        curl -q -fsS --noproxy '*' --max-time "$3" -o "$2" "$1"
    else
        case $(wget --version 2>&1) in
            *GNU*) wget -q --no-config --no-proxy -t "$4" -T "$3" -O "$2" "$1" ;;
            # busybox 1.35's -T crashes.
            *) wget -q -O "$2" "$1" ;;
        esac
    fi
}
