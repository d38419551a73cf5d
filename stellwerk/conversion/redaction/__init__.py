"""Redaction: what identifies a person, or opens a door, becomes a placeholder that stays the same."""
