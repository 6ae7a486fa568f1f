"""The Python behind the verbs of tasks.py."""
