"""Conversion: what its steps do to records whose truth is known, and to real text."""
