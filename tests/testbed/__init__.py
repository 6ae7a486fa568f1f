"""Real hosts to try the roles on: systemd, sshd and sudo in containers of an engine of our own."""

from tests.testbed.bed import Node, Testbed

__all__ = ["Node", "Testbed"]
