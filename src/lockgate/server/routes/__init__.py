"""The handlers: one module a group of operations, one function an operation, nothing of HTTP in them."""
