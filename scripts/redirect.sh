#!/bin/sh
# Redirects connections that pass this machine, or that it makes itself, to an Entrepôt proxy on it
# (its option --transparent), says whether that is so, or undoes it. It writes one nftables table
# of its own, "inet entrepot", whole or not at all, and touches no other rule and no file.
#
# Connections to this machine itself are left alone, and so are those of the proxy's own user,
# which would come back to it without end.
set -eu

TABLE=entrepot
FORWARD4=/proc/sys/net/ipv4/ip_forward
FORWARD6=/proc/sys/net/ipv6/conf/all/forwarding
PRIVATE='10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.168.0.0/16 fc00::/7'

usage() {
    cat <<END
usage: $0 install [--port PORT] [--registry-port PORT]... [--from CIDR]... [--local [--user NAME]]
       $0 check
       $0 uninstall

install    redirects connections to the registry ports (443; 80 or 5000 are others to think of)
           that clients make through this machine, which is their gateway, to the proxy's PORT on
           it (3129). The clients are those of the networks named by --from; private ones where
           none is. With --local it is the connections that this machine makes itself, except
           those of the user as whom the proxy runs (entrepot); with --from, both.
           Installing again replaces what was installed.
check      says what is redirected, and what is missing; exit status 1 where something is.
uninstall  removes what install wrote.
END
}

# A command line that makes no sense.
misuse() {
    usage >&2
    exit 2
}

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

check_port() {
    case $1 in '' | *[!0-9]* | ??????* | 0*) die "got port '$1', want 1 to 65535" ;; esac
    [ "$1" -le 65535 ] || die "got port '$1', want 1 to 65535"
}

# Adds a network to those of its family. nft knows whether it is one.
add_network() {
    case $1 in
        '' | *[!0-9A-Fa-f:./]*) die "got network '$1', want one such as 10.0.0.0/8 or fd00::/8" ;;
        *:*) networks6="${networks6:+$networks6, }$1" ;;
        *.*) networks4="${networks4:+$networks4, }$1" ;;
        *) die "got network '$1', want one such as 10.0.0.0/8 or fd00::/8" ;;
    esac
}

has_nft() { command -v nft >/dev/null; }
listed() { nft list table inet "$TABLE" 2>/dev/null || true; }

rules() {
    if [ -n "$networks4$networks6" ]; then
        say '    chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local accept'
        [ -z "$networks4" ] || say "        ip saddr { $networks4 } tcp dport { $ports } redirect to :$port"
        [ -z "$networks6" ] || say "        ip6 saddr { $networks6 } tcp dport { $ports } redirect to :$port"
        say '    }'
    fi
    # The proxy takes no public addresses, and this machine's own may be one.
    [ -z "$uid" ] || cat <<END
    chain output {
        type nat hook output priority -100; policy accept;
        meta skuid $uid accept
        fib daddr type local accept
        tcp dport { $ports } redirect to :$port
    }
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "lo" ip daddr 127.0.0.1 tcp dport $port ct status dnat snat ip to 127.0.0.1
        oifname "lo" ip6 daddr ::1 tcp dport $port ct status dnat snat ip6 to ::1
    }
END
}

install_rules() {
    has_nft || die "nft is not here; on Debian and Ubuntu: apt-get install nftables"
    if [ "$locally" = 1 ]; then
        uid=$(id -u "$user" 2>/dev/null) ||
            die "there is no user '$user': say by --user as whom the proxy runs"
        [ "$uid" != 0 ] ||
            die "'$user' is root, as container engines are: the proxy must run as a user of its own"
    fi
    if [ "$locally" = 0 ] && [ -z "$networks4$networks6" ]; then
        for network in $PRIVATE; do add_network "$network"; done
    fi
    before=$(listed)
    # In one transaction: at no time is a connection neither redirected nor let through.
    {
        say "table inet $TABLE"
        say "delete table inet $TABLE"
        say "table inet $TABLE {"
        rules
        say "}"
    } | nft -f - || die "nft took none of the rules; whatever was there is still there"
    if [ "$(listed)" = "$before" ]; then
        say "The table inet $TABLE is as it should be already."
    else
        say "Wrote the table inet $TABLE:"
        redirects
    fi
    say "While no proxy listens on port $port, these connections fail."
    say "The rules are gone after a reboot, unless entrepot-redirect.service is enabled."
    say "Next: $0 check"
}

redirects() { listed | sed -n 's/^[[:space:]]*\(.*redirect to .*\)$/  \1/p'; }

uninstall_rules() {
    has_nft || die "nft is not here, so nothing of ours can be"
    if [ -z "$(listed)" ]; then
        say "Nothing to remove."
        return
    fi
    nft delete table inet "$TABLE" || die "the table inet $TABLE could not be removed"
    say "Removed the table inet $TABLE."
    say "Connections that were redirected before go on through the proxy until they end."
}

check() {
    wrong=0
    if ! has_nft; then
        say "nft is not here; on Debian and Ubuntu: apt-get install nftables"
        return 1
    fi
    found=$(listed)
    if [ -z "$found" ]; then
        say "Nothing is redirected. Next: $0 install"
        return 1
    fi
    say "Redirected:"
    redirects
    port=$(say "$found" | sed -n 's/.*redirect to :\([0-9]*\).*/\1/p' | sort -u)
    sockets=$(listeners "$port")
    if [ -n "$sockets" ]; then
        say "Port $port: a process listens."
        check_listeners || wrong=1
    else
        say "Port $port: nobody listens, so these connections fail. Next: start the proxy with --transparent :$port"
        wrong=1
    fi
    case $found in
        *'chain prerouting'*)
            idle=1
            case $found in *'ip saddr'*) ! forwards IPv4 "$FORWARD4" || idle=0 ;; esac
            case $found in *'ip6 saddr'*) ! forwards IPv6 "$FORWARD6" || idle=0 ;; esac
            # Many a gateway has one family.
            [ "$idle" = 0 ] || wrong=1
            ;;
    esac
    return $wrong
}

# Whether what listens can be reached by what is redirected, and sends as the user who is let through.
check_listeners() {
    unfit=0
    case $found in *'ip saddr'*)
        # A socket for all addresses of IPv6 is one for those of IPv4 too.
        if ! outward | grep -qE '^(4|6 0{32}) '; then
            say "Port $port: not where IPv4 clients come in. Next: start the proxy with --transparent :$port"
            unfit=1
        fi
        ;;
    esac
    case $found in *'ip6 saddr'*)
        if [ "$(cat "$FORWARD6" 2>/dev/null)" != 0 ] && ! outward | grep -q '^6 '; then
            say "Port $port: not where IPv6 clients come in. Next: start the proxy with --transparent :$port"
            unfit=1
        fi
        ;;
    esac
    user=$(say "$found" | sed -n 's/.*meta skuid \(.*\) accept.*/\1/p')
    uid=$(id -u "$user" 2>/dev/null || say "$user")
    if [ -n "$user" ] && ! say "$sockets" | grep -q " $uid\$"; then
        say "Port $port: the process is not of the user $user, whom the rules let through: what the proxy"
        say "  sends comes back to it. Next: $0 install --local --user USER, with the user as whom it runs"
        unfit=1
    fi
    return $unfit
}

# Those of $sockets that others than this machine reach.
outward() { say "$sockets" | grep -vE '^(4 [0-9A-F]{6}7F|6 0{24}01000000) ' || true; }

# A gateway forwards what is not redirected; without that its clients reach nothing else.
forwards() {
    if [ "$(cat "$2" 2>/dev/null)" = 0 ]; then
        say "$1 is not forwarded here: as a gateway this machine needs 1 in $2"
        return 1
    fi
}

# What listens on this TCP port in this network namespace, a line each: 4 or 6, the address as the
# kernel prints it (each 32 bits by the processor's order of bytes), the number of the user.
listeners() {
    end=:$(printf '%04X' "$1")
    for family in 4 6; do
        table=/proc/net/tcp6
        [ $family = 6 ] || table=/proc/net/tcp
        awk -v family=$family -v end="$end" '
            $4 == "0A" && substr($2, length($2) - 4) == end {
                print family, substr($2, 1, length($2) - 5), $8
            }' $table 2>/dev/null || true
    done
}

main() {
    for word; do
        case $word in -h | --help) usage && exit ;; esac
    done
    [ $# -gt 0 ] || misuse
    action=$1
    shift
    port=3129 ports='' networks4='' networks6='' locally=0 user=entrepot uid=''
    while [ $# -gt 0 ]; do
        case $1 in
            --local) locally=1 ;;
            --port | --registry-port | --from | --user)
                [ $# -gt 1 ] || misuse
                case $1 in
                    --port) check_port "$2" && port=$2 ;;
                    --registry-port) check_port "$2" && ports="${ports:+$ports, }$2" ;;
                    --from) add_network "$2" ;;
                    --user) user=$2 ;;
                esac
                shift
                ;;
            *) misuse ;;
        esac
        shift
    done
    ports=${ports:-443}
    case $action in
        install | uninstall) needs_root && "${action}_rules" ;;
        check) needs_root && check ;;
        *) misuse ;;
    esac
}

needs_root() { [ "$(id -u)" = 0 ] || die "this must be run as root: nft shows its rules to nobody else"; }

main "$@"
