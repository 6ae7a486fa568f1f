# What a shell of `inv shell` reads in the place of ~/.bashrc: that file, and then the stack first on PATH again.
# shellcheck shell=bash disable=SC1090
[ -r ~/.bashrc ] && . ~/.bashrc
PATH="${GPULAB_BIN:+$GPULAB_BIN:}$PATH"
PS1="($GPULAB_STACK) \\w\\$ "
