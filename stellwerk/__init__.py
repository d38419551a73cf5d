"""Stellwerk."""
