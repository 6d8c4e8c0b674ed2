# Whether the daemon of $unit uses the proxy: what is set, what it has, and what comes of it.

check() {
    wrong=0 registry='' pid=''
    [ -z "$image" ] || registry_of "$image"
    now=$(unit_files | environment)
    set_to=$(value_of "$now" "${prefix}HTTPS_PROXY")
    report_files || wrong=1
    pid=$(main_pid "$unit")
    report_daemon || wrong=1
    # What counts is what the running daemon has; the files, where that cannot be seen.
    [ -n "$set_to$has" ] || return 1
    exceptions=$has_exceptions
    [ -n "$has" ] || exceptions=$(value_of "$now" "${prefix}NO_PROXY")
    report_exempt "$exceptions" "$registry" || wrong=1
    parse_proxy "${proxy:-${set_to:-$has}}"
    report_proxy || return 1
    registry=${registry:-registry-1.docker.io:443}
    distrust=0
    report_next || wrong=1
    report_trust || distrust=$?
    # Without the certificate it would be a refusal, which the proxy remembers.
    [ "$distrust" = 1 ] || report_handshake "$registry" "$proxy" "$cert_file" || wrong=1
    # The daemon's own word counts more than dates.
    [ -z "$image" ] || report_question "$image" || wrong=1
    case $distrust$image in 0* | 2?*) ;; *) wrong=1 ;; esac
    return $wrong
}

# What the files say. Where they say nothing the daemon may have settings of its own.
report_files() {
    well=0
    if [ -z "$set_to" ]; then
        say "$unit: no ${prefix}HTTPS_PROXY is set by systemd"
        return
    fi
    for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        variable=$prefix$variable
        say "$variable=$(value_of "$now" "$variable" | redact) ($(origin_of "$now" "$variable"))"
    done
    if [ "$(origin_of "$now" "${prefix}HTTPS_PROXY")" != "$dropin" ]; then
        say "$unit: ${prefix}HTTPS_PROXY is not set by $dropin"
        well=1
    fi
    if [ -n "$proxy" ] && [ "$proxy" != "$set_to" ]; then
        say "$unit: ${prefix}HTTPS_PROXY is not $(say "$proxy" | redact)"
        well=1
    fi
    return $well
}

# Whether the proxy is there; brings its certificate to $work/ca.pem.
report_proxy() {
    if ! fetch "http://$address/healthz" /dev/null 10 1; then
        say "http://$address/healthz: does not answer"
        return 1
    fi
    say "http://$address/healthz: answers"
    problem="it cannot be fetched"
    # Who does not install the certificates does not count as ready for new ones.
    if ! fetch "http://$address/ca.pem?check" "$work/fetched" 10 1 || ! take_certificates "$work/fetched"; then
        say "http://$address/ca.pem: $problem: that is no Entrepôt"
        return 1
    fi
}
