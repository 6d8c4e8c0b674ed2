# The process of the unit $1 as systemd knows it, or of docker as it says itself; nothing where it
# does not run.
main_pid() {
    found=$(systemctl show -p MainPID "$1" 2>/dev/null | sed -n 's/^MainPID=//p')
    case $found$1 in
        docker | 0docker) found=$(cat /run/docker.pid 2>/dev/null || true) ;;
    esac
    case $found in '' | 0 | *[!0-9]*) return ;; esac
    [ ! -e "/proc/$found/stat" ] || say "$found"
}

# When process $1 was started, in seconds since 1970: field 22 of the line, after a name that may
# hold blanks, in hundredths of a second since boot.
started() {
    ticks=$(sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 20)
    booted=$(sed -n 's/^btime //p' /proc/stat)
    say $((booted + ticks / 100))
}

# Whether file $2 was changed after process $1 was started. Both are cut to seconds.
is_newer() { [ "$(date -r "$2" +%s)" -gt $(($(started "$1") + 1)) ]; }

# The first of the variables $2... that is not empty for process $1, as Go's programs look for them.
variable_of() {
    environ=/proc/$1/environ
    shift
    for name; do
        value=$(tr '\0' '\n' <"$environ" | sed -n "s/^$name=//p" | tail -n 1)
        if [ -n "$value" ]; then
            say "$value"
            return
        fi
    done
}
