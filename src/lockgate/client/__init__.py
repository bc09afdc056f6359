"""The Python client: groups of methods over one transport, in this process or over HTTP."""
