# Which container engines are here, and what is done for each.

ENGINES='docker containerd podman buildkit k3s kind minikube'
IMAGE=hello-world:latest

# Sets units (services of systemd), rootless (names of users whose docker runs as themselves), podman
# (0 or 1) and nodes (runtime:container of each node of a cluster that is a container).
find_engines() {
    units='' rootless='' podman=0 nodes='' engines=''
    is_wanted docker && find_docker
    is_wanted containerd && find_containerd
    is_wanted buildkit && find_units buildkit buildkit buildkitd
    # k3s and rke2 give what begins with CONTAINERD_ to their containerd alone.
    is_wanted k3s && find_units k3s k3s k3s-agent rke2-server rke2-agent
    if is_wanted podman && { command -v podman || command -v buildah || is_named podman; } >/dev/null; then
        podman=1 engines="$engines podman"
    fi
    is_wanted kind && find_nodes kind io.x-k8s.kind.cluster
    is_wanted minikube && find_nodes minikube created_by.minikube.sigs.k8s.io
    return 0
}

is_wanted() { [ -z "$only" ] || is_named "$1"; }
is_named() { case ,$only, in *,"$1",*) ;; *) false ;; esac }

is_unit() { unit=$1 && unit_files | grep -q '[.]service$'; }

# Those of the units $2... that are there; the first, where --for names the engine $1.
find_units() {
    engine=$1 first=$2
    shift
    for name; do
        if is_unit "$name"; then
            units="$units $name"
            case " $engines " in *" $engine "*) ;; *) engines="$engines $engine" ;; esac
        fi
    done
    case " $engines " in *" $engine "*) return ;; esac
    if is_named "$engine"; then units="$units $first" engines="$engines $engine"; fi
}

find_docker() {
    for path in /run/user/*/docker.sock; do
        [ -S "$path" ] || continue
        owner=$(say "$path" | cut -d / -f 4)
        [ "$owner" = 0 ] || rootless="$rootless $owner"
    done
    [ -z "$rootless" ] || engines="$engines docker(rootless)"
    # Where a user has docker, the system's may be asleep for good: it is taken if it is there.
    find_units docker docker
    if [ -d /run/snapd/ns ] && [ -e /run/snapd/ns/docker.mnt ]; then
        say "docker comes from a snap, which has trust and settings of its own: it is left out."
    fi
}

# Docker has a containerd that pulls nothing by itself.
find_containerd() {
    if is_named containerd || ! is_unit docker || command -v kubelet >/dev/null ||
        command -v nerdctl >/dev/null || command -v crictl >/dev/null; then
        find_units containerd containerd
    fi
}

report_engines() {
    for name in kind minikube; do
        if is_named "$name" && ! say "$nodes" | grep -q "$name:"; then
            die "no running nodes of $name (containers of docker or podman). Nothing was done."
        fi
    done
    if [ -z "$engines" ]; then
        say "No container engine is here: looked for $ENGINES." >&2
        if command -v dockerd >/dev/null; then
            say "(dockerd is here, but is no service of systemd: see docs/clients.md.)" >&2
        elif command -v docker >/dev/null; then
            say "(docker is here, but not its daemon: for Docker Desktop see" >&2
            say "http://$served/setup/docker-desktop.)" >&2
        fi
        die "to prepare a machine before its engine comes, name it: --for docker. Nothing was done."
    fi
    say "Found:$engines"
}

# Writes, or while $planning names, what each engine needs.
configure() {
    # A node has a store of its own.
    case $units$rootless$podman in 0) ;; *) place_certificate ;; esac
    for unit in $units; do place_unit; done
    [ -z "$rootless" ] || place_rootless
    [ "$podman" = 0 ] || place_podman
    for node in $nodes; do
        if [ "$planning" = 1 ]; then say "  in the node ${node##*:}: the same, by this script"; fi
    done
}

# Restarts what does not have yet what it should have, and only that.
restart_units() {
    for unit in $units; do restart_unit; done
    for owner in $rootless; do restart_rootless; done
    # In a node the script does all of it itself, the proof too.
    for node in $nodes; do set_up_node install || failed="$failed ${node##*:}"; done
}

# Proves for each engine that it uses the cache; status 1 where one does not.
prove() {
    wrong='' proven=0
    for unit in $units; do prove_unit || wrong="$wrong $unit"; done
    for owner in $rootless; do prove_rootless || wrong="$wrong docker(rootless)"; done
    if [ "$podman" = 1 ]; then prove_podman || wrong="$wrong podman"; fi
    if [ "$action" = check ]; then
        for node in $nodes; do set_up_node check || failed="$failed ${node##*:}"; done
    fi
    wrong="$wrong$failed"
    [ -z "$nodes" ] || proven=1
    report_builders
    say ''
    if [ -n "$wrong" ]; then
        say "NOT PROVEN for:$wrong. The lines above say why."
        return 1
    fi
    if [ -n "$late" ]; then
        say "Done. It counts once these are restarted: systemctl restart$late"
    elif [ -n "$waiting" ]; then
        say "Done. It counts once docker is restarted by its users."
    elif [ "$proven" = 0 ]; then
        say "Done. Nothing runs yet that would prove it; afterwards: --check"
    else
        say "All is well: pulls come by the cache at $address."
    fi
}

uninstall() {
    removed=0 reload=''
    for unit in $UNITS; do displace_unit; done
    displace_rootless
    displace_podman
    for node in $nodes; do set_up_node uninstall || true; done
    displace_certificate
    remove_folders
    if [ "$removed" = 0 ]; then
        say "Nothing to remove."
        return
    fi
    [ -n "$reload" ] || return 0
    reload_systemd
    say "What runs keeps it until it is restarted: systemctl restart$reload"
}
