# Which hosts NO_PROXY keeps from the proxy: as Go's programs read it, docker and containerd among
# them (golang.org/x/net/http/httpproxy).

# The registries that most pull from, and the token server of Docker Hub.
WELL_KNOWN='registry-1.docker.io auth.docker.io ghcr.io quay.io gcr.io registry.k8s.io
mcr.microsoft.com public.ecr.aws registry.gitlab.com nvcr.io docker.elastic.co
registry.access.redhat.com registry.redhat.io'

# Prints the entry of the list $3 that exempts host $1 (an IPv6 address without brackets) at port
# $2, or "loopback"; nothing where the host is asked for by the proxy.
exemption() {
    # shellcheck disable=SC2016 # the dollars are awk's
    HOST=$1 PORT=$2 LIST=$3 awk '
        function binary(value, width,    text) {
            for (; width > 0; width--) { text = (value % 2) text; value = int(value / 2) }
            return text
        }
        function ipv4(text,    part, i, all) {
            if (split(text, part, ".") != 4) return ""
            for (i = 1; i <= 4; i++) {
                if (part[i] !~ /^(0|[1-9][0-9]?[0-9]?)$/ || part[i] + 0 > 255) return ""
                all = all binary(part[i] + 0, 8)
            }
            return all
        }
        # What is on one side of "::"; an x where it is no part of an address.
        function groups(text,    part, count, i, j, all, last) {
            count = text == "" ? 0 : split(text, part, ":")
            for (i = 1; i <= count; i++) {
                if (i == count && (last = ipv4(part[i])) != "") { all = all last; continue }
                if (part[i] !~ /^[0-9a-f][0-9a-f]?[0-9a-f]?[0-9a-f]?$/) return "x"
                for (j = 4; j > length(part[i]); j--) all = all "0000"
                for (j = 1; j <= length(part[i]); j++)
                    all = all binary(index("0123456789abcdef", substr(part[i], j, 1)) - 1, 4)
            }
            return all
        }
        # An address as 128 binary digits, an IPv4 one in its place in IPv6; nothing if it is none.
        function address(text,    at, head, tail) {
            if ((head = ipv4(text)) != "") return binary(0, 80) binary(65535, 16) head
            if (!index(text, ":")) return ""
            if (!(at = index(text, "::"))) { head = groups(text); return length(head) == 128 ? head : "" }
            head = groups(substr(text, 1, at - 1)); tail = groups(substr(text, at + 2))
            if (head == "x" || tail == "x" || length(head tail) >= 128) return ""
            while (length(head tail) < 128) head = head "0"
            return head tail
        }
        function matches(entry,    at, name, size, network, wanted, exact) {
            if (entry == "*") return 1
            at = index(entry, "/"); name = substr(entry, 1, at - 1); size = substr(entry, at + 1)
            network = at ? address(name) : ""
            if (network != "" && size ~ /^[0-9]+$/ && size + 0 <= (index(name, ":") ? 128 : 32)) {
                size += index(name, ":") ? 0 : 96
                return ours != "" && substr(ours, 1, size) == substr(network, 1, size)
            }
            name = entry; wanted = ""
            if (entry ~ /^\[[^]:[]*:[^][]*\]:[^]:[]*$/) {
                at = index(entry, "]"); name = substr(entry, 2, at - 2); wanted = substr(entry, at + 2)
            } else if (entry ~ /^[^]:[]*:[^]:[]*$/) {
                at = index(entry, ":"); name = substr(entry, 1, at - 1); wanted = substr(entry, at + 1)
            }
            if (name == "" || (wanted != "" && wanted != port)) return 0
            if ((network = address(name)) != "" || ours != "") return network == ours
            sub(/^[*][.]/, ".", name)
            if (name !~ /^[.]/) { exact = name; name = "." name }
            at = length(host) - length(name)
            return host == exact || (at >= 0 && substr(host, at + 1) == name)
        }
        BEGIN {
            host = tolower(ENVIRON["HOST"]); port = ENVIRON["PORT"]; ours = address(host)
            if (host == "localhost" || ours == address("::1") || \
                substr(ours, 1, 104) == substr(address("127.0.0.0"), 1, 104)) { print "loopback"; exit }
            count = split(tolower(ENVIRON["LIST"]), entries, ",")
            for (i = 1; i <= count; i++) {
                gsub(/^[ \t]+|[ \t]+$/, "", entries[i])
                if (entries[i] != "" && matches(entries[i])) { print entries[i]; exit }
            }
        }'
}

# Says which registries of $WELL_KNOWN, and of $2 (host:port), the list $1 exempts; status 1 if any.
report_exempt() {
    exempt=0
    for known in $WELL_KNOWN $2; do
        [ "$known:443" != "$2" ] || continue
        case $known in
            *:*) entry=$(exemption "$(say "${known%:*}" | tr -d '[]')" "${known##*:}" "$1") ;;
            *) entry=$(exemption "$known" 443 "$1") ;;
        esac
        if [ -n "$entry" ]; then
            say "${known%:443} bypasses the cache: NO_PROXY has '$entry'"
            exempt=1
        fi
    done
    return $exempt
}
