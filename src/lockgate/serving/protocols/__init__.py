"""One file a protocol: how a request's body becomes rows of the signature, and how answers become its response."""
