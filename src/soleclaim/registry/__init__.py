"""The registry side: the issuance workflow that every adapter runs, its journal and its gRPC service."""
