# What the running daemon of $unit has of the proxy's settings, which may not be what the files say.

# A daemon has the environment that it was started with, whatever the files say now. Sets has,
# has_exceptions, cert_file and cert_folders: the proxy, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR of
# the running one.
report_daemon() {
    has='' has_exceptions='' cert_file='' cert_folders='' well=0
    if [ -z "$pid" ]; then
        say "$unit: not running, so nothing is proven"
        return 1
    fi
    if [ ! -r "/proc/$pid/environ" ]; then
        say "$unit: run this as root to see what the running daemon has"
        return 1
    fi
    has=$(variable_of "$pid" "${prefix}HTTPS_PROXY" "${prefix}https_proxy" HTTPS_PROXY https_proxy)
    has_exceptions=$(variable_of "$pid" "${prefix}NO_PROXY" "${prefix}no_proxy" NO_PROXY no_proxy)
    cert_file=$(variable_of "$pid" SSL_CERT_FILE)
    cert_folders=$(variable_of "$pid" SSL_CERT_DIR)
    report_environment || well=1
    [ "$unit" != docker ] || ask_docker
    if [ -z "$has" ]; then
        say "$unit: the running daemon uses no proxy"
        well=1
    elif [ -n "$proxy" ] && [ "$(bare "$has")" != "$(bare "$proxy")" ]; then
        say "$unit: the running daemon uses $(say "$has" | redact)"
        well=1
    fi
    return $well
}

# Compares the environment of the running daemon with the files.
report_environment() {
    [ -n "$set_to" ] || return 0
    other=''
    for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        variable=$prefix$variable
        wanted=$(value_of "$now" "$variable")
        [ "$wanted" = "$(variable_of "$pid" "$variable")" ] || other="$other $variable"
    done
    if [ -z "$other" ]; then
        say "$unit: the running daemon has it"
    else
        say "$unit: the running daemon does not have it: systemctl restart $unit"
        say "  It was started with another value of$other."
        return 1
    fi
}

# dockerd knows better: its daemon.json and its options count before its environment.
ask_docker() {
    told=$(docker_setting HttpsProxy)
    if [ -n "$told" ] && [ "$(bare "$told")" != "$(bare "$has")" ]; then
        say "docker: its own settings (daemon.json, or an option) name the proxy $(say "$told" | redact)"
        has=$told
    fi
    told=$(docker_setting NoProxy)
    if [ -n "$told" ] && [ "$told" != "$has_exceptions" ]; then
        say "docker: its own settings (daemon.json, or an option) have NO_PROXY=$told"
        has_exceptions=$told
    fi
}

# A proxy's URL without the password, which dockerd does not tell, and without a slash at its end.
bare() { say "$1" | sed 's#^\([a-z]*://\).*@#\1#; s#/$##'; }
