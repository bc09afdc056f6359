"""What travels between a client and a server: one struct per request and response, one `Operation` per call."""
