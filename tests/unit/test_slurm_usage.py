"""What the nodes of a job wrote down, as samples of its steps."""

from __future__ import annotations

from gpulab.engines.slurm_usage import samples

NODE1 = """\
100 train {"CPUPerc": "150.0%", "MemUsage": "1GiB / 8GiB"}
100 train 90, 4000
102 train {"CPUPerc": "50.0%", "MemUsage": "2GiB / 8GiB"}
102 train {"CPUPerc": "10.0%", "MemUsage": "512MiB / 8GiB"}
102 train 70, 5000
106 chat {"CPUPerc": "20.0%", "MemUsage": "1GiB / 8GiB"}
"""
NODE2 = """\
101 train {"CPUPerc": "30.0%", "MemUsage": "1GiB / 8GiB"}
101 train [N/A], 6000
101 train No devices were found
103 train {"CPUPerc": "3"""  # cut off in the middle of a word


def told(tmp_path, step):
    (tmp_path / "usage").mkdir(exist_ok=True)
    (tmp_path / "usage" / "node1.txt").write_text(NODE1)
    (tmp_path / "usage" / "node2.txt").write_text(NODE2)
    found = samples(tmp_path, step)
    return [(s.seconds, s.cpu_percent, s.rss_mib, s.gpu_percent, s.gpu_mib) for s in found]


def test_nodes_are_added_up_at_every_moment_that_one_of_them_told(tmp_path):
    assert told(tmp_path, "train") == [
        (0, 150, 1024, 90, 4000),
        (1, 180, 2048, 45, 10000),
        (2, 90, 3584, 35, 11000),
    ]


def test_a_step_has_its_own_and_seconds_count_from_the_jobs_first(tmp_path):
    assert told(tmp_path, "chat") == [(6, 20, 1024, 0, 0)]


def test_a_step_of_which_nothing_was_told_has_none(tmp_path):
    assert told(tmp_path, "serve") == []
