#compdef kubectl-nival
# Completion of kubectl-nival for zsh: source <(kubectl-nival completion zsh)
_kubectl_nival() {
    local line files=
    local -a candidates
    while IFS= read -r line; do
        case $line in
            :0) files=1 ;;
            :*) ;;
            *) candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done < <(kubectl-nival __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    if [[ -n $files ]]; then
        _files
    else
        _describe -V kubectl-nival candidates
    fi
}
compdef _kubectl_nival kubectl-nival
