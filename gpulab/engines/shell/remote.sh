# shellcheck shell=bash
# on HOST COMMAND...: with the docker engine of that host.
on() { local host=$1; shift; PATH="${WAY[$host]}:$PATH" DOCKER_HOST="ssh://$host" "$@"; }
export DOCKER_HOST="ssh://$FIRST" PATH="${WAY[$FIRST]}:$PATH"
FILES=$SHARED/${RUN##*/}-$$  # the run's folder on the hosts; what it holds stays there
# send FOLDER FOLDER-THERE
# shellcheck disable=SC2016 # for the shell there
send() { tar -C "$1" -c . | helper -c 'mkdir -p "$0" && tar --no-same-owner -xf - -C "$0"' "$2"; }
# ground FOLDER...: the lab's tools and these empty folders are there.
ground() {
  local part
  for part in inside checks; do send "$LAB/gpulab/$part" "$FILES/.gpulab/$part"; done
  # shellcheck disable=SC2016
  helper -c 'mkdir -p "$@"' _ "$@"
}
