"""Benchmarks of conversion: its steps on published data."""
