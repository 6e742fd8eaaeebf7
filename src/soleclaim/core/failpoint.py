"""Named points at which a test may end or stop this very process, to prove what survives.

Inert unless the environment variable ``SOLECLAIM_FAILPOINT`` is set when the process starts:
``kill:<point>`` sends SIGKILL to the process, ``stop:<point>`` SIGSTOP, the first time the point is reached.
"""

import os
import signal
from typing import Final

_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_action, _, _armed = os.environ.get("SOLECLAIM_FAILPOINT", "").partition(":")
_pending = {_armed} if _action in _SIGNALS else set[str]()


def reach(point: str) -> None:
    """Mark that ``point`` is reached; ends or stops the process when that point is armed."""
    if point in _pending:
        _pending.discard(point)
        os.kill(os.getpid(), _SIGNALS[_action])
