#compdef skiff
# Completion of skiff for zsh: install it as _skiff in a directory of $fpath, or source it after compinit.
_skiff() {
    local -a lines values shown
    local line files=
    lines=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${lines[@]}"; do
        [[ -z $line ]] && continue
        if [[ $line == ":files" ]]; then
            files=1
            continue
        fi
        values+=("${line%%$'\t'*}")
        shown+=("${line/$'\t'/  -- }")
    done
    if (( ${#values} )); then
        compadd -l -d shown -a values
    fi
    if [[ -n $files ]]; then
        _files
    fi
}
if [[ ${funcstack[1]} == _skiff ]]; then
    _skiff "$@"
elif (( ${+functions[compdef]} )); then
    compdef _skiff skiff
fi
