"""Hosts: the inventory, and the verbs that turn bare machines into identical, proven GPU hosts."""
