# shellcheck shell=sh
# OWNER FOLDER: remove a run's folder if it is this owner's: another run may have begun under the same name.
[ "$(cat "$2"/.owner 2>/dev/null)" != "$1" ] || rm -rf -- "$2"
