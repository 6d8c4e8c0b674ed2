# podman and buildah, whoever runs them: their settings have an environment for the program itself
# (containers.conf(5), `env` of [engine]). docker without root: a drop-in for the services of users.

PODMAN_FILE=/etc/containers/containers.conf.d/$NAME
ROOTLESS_FILE=/etc/systemd/user/docker.service.d/$NAME

# What the file is. Without the second part podman would hand the proxy on to all containers.
podman_content() {
    say '# Written for Entrepôt; "setup --uninstall" removes it.'
    say '[engine]'
    printf 'env = ["HTTP_PROXY=%s", "HTTPS_PROXY=%s", "NO_PROXY=%s"]\n' "$proxy" "$proxy" "$exceptions"
    say '[containers]'
    say 'http_proxy = false'
}

place_podman() {
    for path in /etc/containers/containers.conf /etc/containers/containers.conf.d/*.conf; do
        if [ -f "$path" ] && [ "$path" != "$PODMAN_FILE" ] &&
            settings <"$path" | cut -f 1 | grep -qx 'engine[.]env'; then
            die "$path has env in [engine], which $PODMAN_FILE would replace: put
  HTTPS_PROXY=$(say "$proxy" | redact) there, and use --for for the others. Nothing was done."
        fi
    done
    had=''
    if [ -z "$no_proxy" ] && [ -f "$PODMAN_FILE" ]; then
        had=$(sed -n 's/.*"NO_PROXY=\([^"]*\)".*/\1/p' "$PODMAN_FILE")
    fi
    exceptions=$(merge "$LOCAL" "$no_proxy,$had")
    mode=644
    [ -z "$user" ] || mode=600
    podman_content >"$work/podman"
    place "$PODMAN_FILE" $mode <"$work/podman"
    if [ "$planning" = 1 ] && grep -qi '^[^#]*https_proxy=' /etc/environment 2>/dev/null; then
        say "      /etc/environment sets HTTPS_PROXY, which counts before this file where podman has it"
    fi
}

# Has podman ask for the image's manifest, and looks whether the cache counted it.
prove_podman() {
    if ! command -v podman >/dev/null; then
        say "podman: is not here, so nothing is proven; buildah reads the same file"
        return
    fi
    [ -f "$PODMAN_FILE" ] || {
        say "podman: $PODMAN_FILE is not there: run the set-up"
        return 1
    }
    name=$image
    case $registry in registry-1.docker.io:443) case $name in */*) ;; *) name=library/$name ;; esac ;; esac
    case $registry$name in
        registry-1.docker.io:443docker.io/*) ;;
        registry-1.docker.io:443*) name=docker.io/$name ;;
    esac
    counted=$(count) again=$(count) asked=0
    said=$(
        unset HTTPS_PROXY HTTP_PROXY ALL_PROXY NO_PROXY https_proxy http_proxy all_proxy no_proxy
        podman manifest inspect "$name" 2>&1 >/dev/null
    ) || asked=$?
    # The manifest of a single image came, where it wants a list.
    case $said in *'parsing manifest blob'*) asked=0 ;; esac
    if [ "$(count)" = "$again" ]; then
        say "podman: asked for $name, and it did not come to the cache at $address: $(say "$said" | tail -n 1)"
        return 1
    elif [ "$asked" != 0 ]; then
        say "podman: asked the cache for $name in vain: $(say "$said" | tail -n 1)"
        return 1
    elif [ "$counted" != "$again" ]; then
        say "podman: asked for $name, and was answered; others use the cache too, so it proves nothing"
        return
    fi
    proven=1
    say "podman: asked for $name, and was answered by the cache at $address, which counted it"
}

displace_podman() { displace "$PODMAN_FILE"; }

# docker without root

place_rootless() {
    had=''
    for owner in $rootless; do
        pid=$(rootless_pid)
        [ -z "$pid" ] || had=$had,$(variable_of "$pid" NO_PROXY no_proxy | tr -cd 'A-Za-z0-9.,:/*_[]-')
    done
    prefix=''
    exceptions=$(merge "$LOCAL,$no_proxy" "$(exceptions_of "$ROOTLESS_FILE"),$had")
    mode=644
    [ -z "$user" ] || mode=600
    rootless_exceptions=$exceptions
    content >"$work/dropin"
    place "$ROOTLESS_FILE" $mode <"$work/dropin"
}

# The dockerd of the user $owner (a number).
rootless_pid() {
    for path in /proc/[0-9]*; do
        if [ "$(cat "$path/comm" 2>/dev/null)" = dockerd ] &&
            [ "$(sed -n 's/^Uid:[^0-9]*\([0-9]*\).*/\1/p' "$path/status" 2>/dev/null)" = "$owner" ]; then
            say "${path#/proc/}"
            break
        fi
    done
}

restart_rootless() {
    name=$(id -nu "$owner")
    pid=$(rootless_pid)
    if [ -z "$pid" ]; then
        say "The docker of $name does not run: it has this when it is started."
    elif [ "$(variable_of "$pid" HTTPS_PROXY)$(variable_of "$pid" NO_PROXY)" = "$proxy$rootless_exceptions" ] &&
        ! is_older_than_certificates "$pid"; then
        say "The docker of $name has all of it already: not restarted."
    elif [ "$restart" = 1 ] && has_systemd &&
        systemctl --user --machine="$name@.host" daemon-reload 2>/dev/null &&
        systemctl --user --machine="$name@.host" restart docker 2>/dev/null; then
        say "Restarted the docker of $name"
    else
        say "The docker of $name is to be restarted, by $name:"
        say "  systemctl --user daemon-reload && systemctl --user restart docker"
        waiting="$waiting $owner"
    fi
}

prove_rootless() {
    case " $waiting " in *" $owner "*) return ;; esac
    name=$(id -nu "$owner")
    pid=$(rootless_pid)
    if [ -z "$pid" ] && [ "$action" = install ]; then
        say "docker of $name: does not run, so nothing is proven yet"
        return
    fi
    if [ -n "$pid" ] && [ "$(bare "$(variable_of "$pid" HTTPS_PROXY)")" = "$(bare "$proxy")" ]; then
        proven=1
        say "docker of $name: the running daemon has the proxy"
        return
    fi
    say "docker of $name: the running daemon does not have the proxy"
    return 1
}

displace_rootless() {
    displace "$ROOTLESS_FILE"
}
