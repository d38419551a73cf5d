"""What runs a plan: Stellwerk, and what people would use instead."""
