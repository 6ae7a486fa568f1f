"""The path of a rehearsal of Megatron on a CPU: PYTHONPATH names this folder (lab/commands.yml)."""
