"""The client library: resolve a registry through the directory, dial it, retry safely."""

from soleclaim.client.calls import RemoteUnavailable
from soleclaim.client.lookup import LookupClient
from soleclaim.client.registry import RegistryClient
from soleclaim.rpc.status import RemoteRefusal
from soleclaim.rpc.tls import TlsFault, TlsFiles

__all__ = ["LookupClient", "RegistryClient", "RemoteRefusal", "RemoteUnavailable", "TlsFault", "TlsFiles"]
