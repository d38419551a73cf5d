"""How close a run of a plan comes to its critical path, beside what people would use instead."""
