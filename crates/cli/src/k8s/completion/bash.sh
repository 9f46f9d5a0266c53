# Completion of kubectl-nival for bash: source <(kubectl-nival completion bash)
_kubectl_nival() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        case $word in
            :0) compopt -o default 2>/dev/null ;;
            :*) ;;
            *) COMPREPLY+=("${word%%$'\t'*}") ;;
        esac
    done < <(kubectl-nival __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    # A colon and an equals sign end words for bash, so what stands before is left out of the candidates.
    if declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "${COMP_WORDS[COMP_CWORD]}"
    fi
}
complete -F _kubectl_nival kubectl-nival
