set -eu
umask 022

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "${program:-${0##*/}}" "$*" >&2
    exit 1
}
need_root() { [ "$(id -u)" = 0 ] || die "$1 must be run as root"; }

# A command line that makes no sense.
misuse() {
    usage >&2
    exit 2
}

# Shows the usage and ends, where one of the words asks for it.
help_if_asked() {
    for word; do
        case $word in -h | --help) usage && exit ;; esac
    done
}
