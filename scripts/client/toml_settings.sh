# Prints "key value" (a tab between) of what settings in TOML on stdin say, such as containerd's or
# podman's, sections and quotes resolved: plugins.io.containerd.grpc.v1.cri.registry.config_path "/etc/containerd/certs.d".
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
