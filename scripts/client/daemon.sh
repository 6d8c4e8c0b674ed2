# The process of the unit $1 as systemd knows it: 0 or nothing where it does not run.
main_pid() { systemctl show -p MainPID "$1" 2>/dev/null | sed -n 's/^MainPID=//p'; }

# Does what $action says: install_file, check or uninstall_file, which each script has of its own.
# Install needs the address ($given) of what the daemon shall use.
run_action() {
    case $action in
        install) [ -n "$given" ] || usage ;;
        check)
            check
            return
            ;;
        uninstall) ;;
        *) usage ;;
    esac
    need_root "$action"
    "${action}_file"
}
