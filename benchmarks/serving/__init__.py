"""`stellwerk serve` under load: what it adds to a run, whether it grows, and where it is full."""
