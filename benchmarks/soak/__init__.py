"""A soak: many subtasks over two servers that fail, hang, and are killed and restarted."""
