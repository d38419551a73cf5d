"""What conversion costs and brings."""
