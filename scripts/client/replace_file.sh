# replace_file FILE MODE: makes stdin the content of the file in one step, so that nobody reads half.
replace_file() {
    new=$(mktemp "${1%/*}/.entrepot.XXXXXX")
    cat >"$new"
    chmod "$2" "$new"
    mv -f "$new" "$1"
}
