"""Checkpointers beside each other: what a step costs to save, to read and to keep."""
