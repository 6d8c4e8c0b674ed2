# What systemd gives a unit as its environment.

# The files that systemd reads for the unit, in its order; the first folder wins for each name.
unit_files() {
    folders='/etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system
        /usr/lib/systemd/system /lib/systemd/system'
    for folder in $folders; do
        if [ -e "$folder/$unit.service" ]; then
            # A unit that is masked is a link to /dev/null.
            [ ! -s "$folder/$unit.service" ] || say "$folder/$unit.service"
            break
        fi
    done
    for kind in "$unit.service.d" service.d; do
        for folder in $folders; do
            for path in "$folder/$kind"/*.conf; do
                [ ! -e "$path" ] || printf '%s\t%s\n' "${path##*/}" "$path"
            done
        done
    done | awk -F '\t' '!seen[$1]++' | LC_ALL=C sort | cut -f 2
}

# Prints "variable value file" (tabs between) of each proxy variable, and of each with $prefix before
# its name, that the files named on stdin set, as systemd resolves them: the last Environment= counts,
# and EnvironmentFile= beats them all; "reset" is the last file that empties the list.
environment() {
    # shellcheck disable=SC2016 # the dollars are awk's
    awk -v prefix="$prefix" '
        # Splits at blanks outside quotes, and takes quotes and escapes away.
        function assign(text, file,    i, c, quote, word, inside) {
            for (i = 1; i <= length(text) + 1; i++) {
                c = substr(text, i, 1)
                if (c == "\\" && quote != "\047") { word = word substr(text, ++i, 1); inside = 1 }
                else if (quote == "" && (c == "\"" || c == "\047")) { quote = c; inside = 1 }
                else if (c != "" && c == quote) quote = ""
                else if (c == "" || (quote == "" && (c == " " || c == "\t"))) {
                    if (inside) keep(word, file)
                    word = ""; inside = 0
                } else { word = word c; inside = 1 }
            }
        }
        function keep(word, file,    at) {
            at = index(word, "=")
            if (at > 1) { value[substr(word, 1, at - 1)] = substr(word, at + 1)
                          origin[substr(word, 1, at - 1)] = file }
        }
        function directive(line, file,    name, text) {
            name = substr(line, 1, index(line, "=") - 1); sub(/[ \t]+$/, "", name)
            text = substr(line, index(line, "=") + 1); gsub(/^[ \t]+|[ \t]+$/, "", text)
            if (name == "Environment" && text == "") {
                split("", value); split("", origin); value["reset"] = "-"; origin["reset"] = file
            } else if (name == "Environment") { gsub(/%%/, "%", text); assign(text, file) }
            else if (name == "EnvironmentFile" && text == "") count = 0
            else if (name == "EnvironmentFile") { sub(/^-/, "", text); extra[++count] = text }
        }
        {
            file = $0; service = 0; pending = ""
            while ((getline line < file) > 0) {
                if (line ~ /^[ \t]*[#;]/) continue
                if (line ~ /\\$/) { pending = pending substr(line, 1, length(line) - 1) " "; continue }
                line = pending line; pending = ""; sub(/^[ \t]+/, "", line)
                if (line ~ /^\[/) service = (line ~ /^\[Service\]/)
                else if (service && index(line, "=")) directive(line, file)
            }
            close(file)
        }
        END {
            for (i = 1; i <= count; i++)
                while ((getline line < extra[i]) > 0)
                    if (line ~ /^[A-Za-z_]+=/) {
                        text = substr(line, index(line, "=") + 1); gsub(/^["\047]|["\047]$/, "", text)
                        keep(substr(line, 1, index(line, "=")) text, "EnvironmentFile " extra[i])
                    }
            split("reset HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy", names, " ")
            if (prefix != "") for (i = 2; i <= 7; i++) names[i + 6] = prefix names[i]
            for (i = 1; i in names; i++)
                if (names[i] in value)
                    printf "%s\t%s\t%s\n", names[i], value[names[i]], origin[names[i]]
        }'
}

# The value of variable $2 in the lines $1 of environment.
value_of() { say "$1" | awk -F '\t' -v name="$2" '$1 == name { print $2 }'; }
origin_of() { say "$1" | awk -F '\t' -v name="$2" '$1 == name { print $3 }'; }
