"""The HTTP edge: a table of operations, one plain function each, and a thin ASGI shell around them."""
