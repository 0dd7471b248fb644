# Completion of skiff for bash: source it, or install it as bash-completion/completions/skiff.
_skiff() {
    local line=${COMP_LINE:0:COMP_POINT} words candidate word current prefix files=
    read -ra words <<<"$line"
    case $line in *[[:blank:]]) words+=("") ;; esac
    current=${words[${#words[@]} - 1]}
    # Bash takes a word apart at colons and equals signs, and replaces its last part alone.
    prefix=${current%"${current##*[:=]}"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        if [ "$candidate" = ":files" ]; then
            files=1
            continue
        fi
        word=${candidate%%$'\t'*}
        case $word in *[=:]) compopt -o nospace 2>/dev/null ;; esac
        COMPREPLY+=("${word#"$prefix"}")
    done < <("${COMP_WORDS[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
    if [ -n "$files" ]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r candidate; do
            COMPREPLY+=("$candidate")
        done < <(compgen -f -- "${current##*[:=]}")
    fi
}
complete -F _skiff skiff
