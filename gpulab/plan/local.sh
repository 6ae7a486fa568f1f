# shellcheck shell=bash
made() { [ -e "$2/complete" ] || { echo "make the stack first: $LAB/inv stacks --install $1" >&2; exit 2; }; }
export PATH="$STACK/bin:$PATH"
servers=() nodes=()
wait_for() { for pid in "$@"; do wait "$pid"; done; }
stop() { for pid in "$@"; do kill -- -"$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done; }
trap 'stop "${servers[@]:-}" "${nodes[@]:-}"' EXIT
set -m  # every server and node in a process group of its own, so that stopping it stops its children
