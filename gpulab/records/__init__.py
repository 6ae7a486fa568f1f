"""Runs on record."""
