# Completion of kubectl-nival for fish: kubectl-nival completion fish | source
function __kubectl_nival_complete
    set -l words (commandline -opc) (commandline -ct)
    kubectl-nival __complete $words[2..-1] 2>/dev/null | string match -v ':*'
end
function __kubectl_nival_wants_files
    set -l words (commandline -opc) (commandline -ct)
    kubectl-nival __complete $words[2..-1] 2>/dev/null | string match -q ':0'
end
complete -c kubectl-nival -f
complete -c kubectl-nival -n __kubectl_nival_wants_files -F
complete -c kubectl-nival -a '(__kubectl_nival_complete)'
