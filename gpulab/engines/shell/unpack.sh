# shellcheck shell=sh
# FOLDER FOLDER...: unpack the tar that comes in into the first, and make the others below it.
umask 002
mkdir -p "$1" && cd "$1" && tar -xf - && shift && mkdir -p "$@"
