"""The tables, one module for each part that stores something."""
