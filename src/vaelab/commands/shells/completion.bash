# bash completion of vaelab
_vaelab() {
    local current=${COMP_LINE:0:COMP_POINT} words values key head last found
    current=${current##*[[:space:]]}
    case ${1##*/} in
COMMANDS
    esac
    COMPREPLY=()
    if [[ $current != *=* ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
        [[ ${COMPREPLY[*]} == *= ]] && type compopt >/dev/null 2>&1 && compopt -o nospace
        return 0
    fi
    key=${current%%=*}= last=${current#*=}
    if [[ $key =~ ^(PATHS)$ ]]; then
        type compopt >/dev/null 2>&1 && compopt -o filenames
        while IFS= read -r found; do COMPREPLY+=("$found"); done < <(compgen -f -- "$last")
    else # the last of a list: [a,b or a,b
        head=${last%"${last##*[\[,]}"} last=${last##*[\[,]}
        for found in $(compgen -W "$values" -- "$key$last"); do COMPREPLY+=("$head${found#"$key"}"); done
    fi
    # bash replaces what follows =, unless that separates no words
    [[ $COMP_WORDBREAKS == *=* ]] || COMPREPLY=("${COMPREPLY[@]/#/$key}")
}
complete -F _vaelab NAMES
