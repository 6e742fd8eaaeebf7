"""Limits that servers and clients must agree on (design section 9)."""

from typing import Final

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Largest message either way; batch and page limits stay below it."""

KEEPALIVE_TIME_MS: Final = 30_000
"""How often a client pings while a call is open, so that a silent stream over a dead link ends."""

KEEPALIVE_TIMEOUT_MS: Final = 10_000
"""How long a client waits for the answer to a ping."""

MIN_RECONNECT_MS: Final = 250
MAX_RECONNECT_MS: Final = 5_000
"""How long a client waits before it connects anew, growing from the first to the second. The library's own two
minutes would keep issuances in doubt long after a server is back."""

MIN_PING_INTERVAL_MS: Final = 15_000
"""Pings a server accepts at most this often. Below the client's interval, else the server ends the connection."""

DEADLINE_MARGIN_S: Final = 0.05
"""Part of a caller's deadline that a server keeps to report a time-out further down."""

MIN_REMAINING_S: Final = 0.05
"""Calls with less time left are refused at once: their answer would not arrive."""

RETRY_NEEDS_S: Final = 0.5
"""With less time left a server tells the client's transport not to try again by itself."""

MAX_STATUS_BYTES: Final = 3 * 1024
"""Largest ``google.rpc.Status``: in base64, with message and trace id, trailers stay under 8 KiB, and
1,000 of them in a batch answer under ``MAX_MESSAGE_BYTES``."""
