"""gRPC transport shared by every service: identity, access, errors, limits, parsing."""
