"""The path of a traced command: PYTHONPATH names this folder (plan/make.py)."""
