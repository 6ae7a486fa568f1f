# shellcheck shell=sh
# FOLDER STEP MIB: the files of a step's folder that are not too big, as a tar.
cd "$1" && find "$2" -type f -size "-$3M" -print0 | tar -cf - --null -T -
