# shellcheck shell=sh
# PROGRAM...: the first that is not on PATH.
for program; do command -v "$program" >/dev/null || { echo "$program"; exit; }; done
