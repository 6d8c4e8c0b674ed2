# What containerd itself makes of the file, its defaults and what it imports; else the file.
effective() {
    if command -v containerd >/dev/null && containerd --config "$config" config dump 2>/dev/null; then
        return
    fi
    [ ! -r "$config" ] || cat "$config"
}

# The last value of the keys on stdin that match $1; the dollars are awk's.
# shellcheck disable=SC2016
value_of() { awk -F '\t' -v name="^$1\$" '$1 ~ name { value = $2 } END { print value }'; }

# Where the settings for registries are in version $1 of the file, as a pattern: containerd reads
# them nowhere else. It dumps a file of version 1 by the names of version 2.
registry_section() {
    case $1 in
        1) say 'plugins[.](cri|io[.]containerd[.]grpc[.]v1[.]cri)[.]registry[.]' ;;
        2) say 'plugins[.]io[.]containerd[.]grpc[.]v1[.]cri[.]registry[.]' ;;
        *) say 'plugins[.]io[.]containerd[.]cri[.]v1[.]images[.]registry[.]' ;;
    esac
}

# The version of the file's form: as it says, 1 where it does not, the newest where there is none.
version() {
    if [ -s "$config" ]; then
        found=$(settings <"$config" | value_of version)
        say "${found:-1}"
    else
        case $(containerd --version 2>/dev/null) in *' 1.'* | *' v1.'*) say 2 ;; *) say 3 ;; esac
    fi
}
