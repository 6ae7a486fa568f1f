# shellcheck shell=sh
# PROGRAM... [-- WORD...]: the first program that is not on PATH, and nothing more; where all are, WORD... are left.
while [ $# -gt 0 ]; do
  program=$1
  shift
  [ "$program" = -- ] && break
  command -v "$program" >/dev/null || { echo "$program"; exit; }
done
