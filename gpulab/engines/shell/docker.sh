# shellcheck shell=bash
NETWORK=$NETWORK-again-$$
docker image inspect "$IMAGE" >/dev/null || { echo "$MAKE" >&2; exit 2; }
stop() { docker rm --force "$@" >/dev/null; }
# shellcheck disable=SC2034 # the steps' lines do
nodes=()
wait_for() { for pid in "$@"; do wait "$pid"; done; }
clean() { docker ps -aq --filter network="$NETWORK" | xargs -r docker rm --force; docker network rm "$NETWORK"; }
trap 'clean >/dev/null' EXIT
docker network create "$NETWORK" >/dev/null
