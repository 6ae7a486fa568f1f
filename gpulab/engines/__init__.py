"""Engines carry out a Plan: `local` in the stack's venv."""
