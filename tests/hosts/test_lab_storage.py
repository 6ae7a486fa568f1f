"""The role lab_storage: folders that all hosts share."""

from typing import Any

from testinfra.host import Host

from tests.hosts.check import check


def root(variables: dict[str, Any]) -> str:
    path: str = variables["lab_storage_path"]
    return path


@check("lab_storage.folders")
def test_the_lab_user_can_write(host: Host, variables: dict[str, Any]) -> None:
    user = variables["base_user"]
    for folder in variables["lab_storage_folders"]:
        path = f"{root(variables)}/{folder}"
        assert host.run(f"su {user} -c 'f=$(mktemp -p {path}) && rm $f'").rc == 0, f"{user} cannot write to {path}"


@check("lab_storage.group")
def test_one_users_download_serves_all(host: Host, variables: dict[str, Any]) -> None:
    group = variables["base_group"]
    assert host.run(f"stat -c '%G %a' {root(variables)}/models").stdout.split() == [group, "2775"]


@check("lab_storage.environment")
def test_programs_are_told_where_the_caches_are(host: Host, variables: dict[str, Any]) -> None:
    told = host.run("bash -lc 'echo $MODELSCOPE_CACHE $HF_HOME $HF_DATASETS_CACHE'").stdout.split()
    assert len(told) == 3 and all(path.startswith(root(variables)) for path in told), told


@check("lab_storage.space", "remove old runs and models, or give the folder a larger disk")
def test_there_is_room_for_models(host: Host, variables: dict[str, Any]) -> None:
    answer = host.run(f"df --output=avail --block-size=1G {root(variables)}")
    assert answer.rc == 0, answer.stderr.strip()
    free = int(answer.stdout.split()[-1])
    assert free >= int(variables["validate_disk_gib"]), f"{free} GiB free"
