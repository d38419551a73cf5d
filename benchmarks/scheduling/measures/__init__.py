"""What is measured: each module says which turns are due."""
