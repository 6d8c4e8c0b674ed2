# Does what $action says: install_file, check or uninstall_file, which each script has of its own.
# Install needs the address ($given) of what the daemon shall use.
run_action() {
    case $action in
        install) [ -n "$given" ] || misuse ;;
        check)
            check
            return
            ;;
        uninstall) ;;
        *) misuse ;;
    esac
    need_root "$action"
    "${action}_file"
}
