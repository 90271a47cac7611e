# zsh completion of vaelab
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_vaelab() {
    local command=${words[1]:t} current=$PREFIX
    local -a starts values
    case $command in
COMMANDS
    esac
    if [[ $current != *=* ]]; then
        compadd -S '' -- ${(M)starts:#*=}
        compadd -- ${starts:#*=}
        return
    fi
    local key=${current%%=*}=
    compset -P 1 '*='
    if [[ $key == (PATHS) ]]; then
        _files
        return
    fi
    compset -P '*[\[,]'  # the last of a list: [a,b or a,b
    values=(${(M)values:#$key*})
    compadd -- ${values#$key}
}
compdef _vaelab NAMES
