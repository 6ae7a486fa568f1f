# shellcheck shell=sh
# FOLDER FOLDER...: unpack the tar that comes in into the first, and make the others below it.
# They belong to who unpacks them: root without rights can't give them away.
umask 002
mkdir -p "$1" && cd "$1" && tar --no-same-owner -xf - && shift && mkdir -p "$@"
