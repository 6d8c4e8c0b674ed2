# Nodes of kind and minikube that are containers, with an engine of their own; builders of buildx.

# Adds the running nodes of the kind $1, which have the label $2.
find_nodes() {
    for runtime in docker podman; do
        command -v "$runtime" >/dev/null || continue
        # Asked before it ever ran anything, podman makes folders.
        [ "$runtime" = docker ] || [ -d /run/libpod ] || continue
        for name in $("$runtime" ps --filter "label=$2" --format '{{.Names}}' 2>/dev/null || true); do
            case $name in *[!A-Za-z0-9_.-]*) continue ;; esac
            nodes="$nodes $1:$runtime:$name"
            case " $engines " in *" $1 "*) ;; *) engines="$engines $1" ;; esac
        done
    done
}

# Runs this script in the node $node (kind:runtime:name), as the proxy gives it.
set_up_node() {
    name=${node##*:} runtime=${node#*:}
    runtime=${runtime%:*}
    case $host in
        '')
            say "$name: not looked at, without --proxy"
            return 1
            ;;
        localhost | 127.* | \[::1\])
            say "$name: in a node $host is the node itself: use an address of the proxy that leads to it"
            return 1
            ;;
    esac
    fetch "http://$address/setup" "$work/setup.sh" 20 1 || {
        say "$name: http://$address/setup does not answer"
        return 1
    }
    coming=''
    [ ! -f "$work/next.pem" ] || coming=$other
    case $1 in
        install) set -- --fingerprint "$fingerprint" ${coming:+--fingerprint "$coming"} --image "$image" ${no_proxy:+--no-proxy "$no_proxy"} ;;
        check) set -- --check --image "$image" ;;
        *) set -- --uninstall ;;
    esac
    done=0
    "$runtime" exec -i "$name" sh -s -- "$@" <"$work/setup.sh" >"$work/node" 2>&1 || done=$?
    say "$name:"
    # Of what a container says only text, and nothing that moves a terminal.
    LC_ALL=C tr -d '\000-\010\013-\037\177' <"$work/node" | sed 's/^/  /'
    return $done
}

# A builder that is a container has neither this machine's certificate nor its proxy.
report_builders() {
    command -v docker >/dev/null || return 0
    for name in $(docker ps --filter name=buildx_buildkit_ --format '{{.Names}}' 2>/dev/null || true); do
        say "$name: a builder of buildx in a container of its own, which no setting of this machine"
        say "  reaches: make it anew, as http://$address/setup/buildkitd.toml says"
    done
}
