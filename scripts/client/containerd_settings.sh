# Prints "key value" (a tab between) of what containerd's settings on stdin say, sections and
# quotes resolved: plugins.io.containerd.grpc.v1.cri.registry.config_path "/etc/containerd/certs.d".
settings() {
    # shellcheck disable=SC2016 # the dollars are awk's
    awk '
        function plain(text) { gsub(/["\047 \t]/, "", text); return text }
        /^[ \t]*(#|$)/ { next }
        /^[ \t]*\[/ {
            section = $0
            sub(/^[ \t]*\[+/, "", section); sub(/\].*/, "", section)
            section = plain(section) "."
            next
        }
        index($0, "=") {
            key = plain(substr($0, 1, index($0, "=") - 1))
            value = substr($0, index($0, "=") + 1)
            while (value ~ /^[ \t]*\[[^]]*$/ && (getline more) > 0) value = value " " more
            gsub(/^[ \t]+|[ \t]+$/, "", value)
            if (value !~ /^["\047]/) sub(/[ \t]*#.*/, "", value)
            printf "%s%s\t%s\n", section, key, value
        }'
}

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
