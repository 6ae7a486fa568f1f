# shellcheck shell=sh
# OWNER FOLDER...: make a run's folder, which must be new, and write down whose it is. FOLDER... are left.
umask 002
owner=$1
shift
mkdir -p "${1%/*}"
mkdir "$1" || exit 1
echo "$owner" > "$1"/.owner
