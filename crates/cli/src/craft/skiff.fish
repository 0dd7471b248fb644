# Completion of skiff for fish: install it as fish/vendor_completions.d/skiff.fish.
function __skiff_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l current (commandline -ct)
    for line in ($program __complete -- $words "$current" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c skiff -f -a '(__skiff_complete)'
