#!/bin/sh
# Completion of `kubectl nival`. Put it on PATH as kubectl_complete-nival, and make it executable.
exec kubectl-nival __complete "$@"
