# The files of the set-up: each is written whole or not at all, and what was there comes back.

# Our own folder: the certificate at a place that is the same everywhere, and what folders we made.
OURS=/etc/entrepot
FOLDERS=$OURS/folders
BACKUP=.before-entrepot

# place FILE MODE: makes stdin the content of the file; while $planning, only says so. Adds to
# $changed. A file of this name that we have not written is kept beside it.
place() {
    cat >"$work/content"
    if [ -f "$1" ] && cmp -s "$work/content" "$1"; then
        [ "$planning" = 0 ] || say "  $1: is as it should be already"
        return
    fi
    if [ "$planning" = 1 ]; then
        say "  $1"
        [ "$action" = install ] || sed 's/^/      /; s#//[^@/"]*@#//***@#g' "$work/content"
        return
    fi
    make_folder "${1%/*}"
    if [ -f "$1" ] && ! is_ours "$1"; then
        mv -f "$1" "$1$BACKUP"
        say "  $1$BACKUP: what was there before"
    fi
    replace_file "$1" "$2" <"$work/content"
    say "  $1"
    changed=1 written=1
}

is_ours() {
    case $1 in
        */entrepot.crt | */entrepot-next.crt | "$FOLDERS") ;;
        *) sed -n 1p "$1" | grep -q '^# Written .*Entrep' ;;
    esac
}

# Makes a folder and those above it, and notes those that were not there.
make_folder() {
    [ ! -d "$1" ] || return 0
    make_folder "${1%/*}"
    mkdir "$1"
    [ "$1" = "$OURS" ] || make_folder "$OURS"
    say "$1" >>"$FOLDERS"
}

# Removes the file $1, if it is one of ours, and puts back what was there before. Adds to $removed.
displace() {
    if [ ! -f "$1" ] || ! is_ours "$1"; then return 0; fi
    rm -f "$1"
    say "Removed $1"
    removed=1
    [ ! -f "$1$BACKUP" ] || mv -f "$1$BACKUP" "$1"
}

# Removes the folders that we made, the deepest first, if nothing of others is in them.
remove_folders() {
    [ -f "$FOLDERS" ] || return 0
    LC_ALL=C sort -r "$FOLDERS" >"$work/folders"
    rm -f "$FOLDERS"
    while read -r folder; do rmdir "$folder" 2>/dev/null || true; done <"$work/folders"
}
