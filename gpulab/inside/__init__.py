"""What runs in a stack, a container or on a bare host: the standard library and the stack's own libraries only."""
