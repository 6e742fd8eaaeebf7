"""What a person says of a thing that is numbered: confirming it, opening it again."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from soleclaim.core.identity import Caller
from soleclaim.lookup.grpc.convert import parse_numbered_name
from soleclaim.rpc.parse import Faults

MAX_TEXT: Final = 1024
"""Characters of a reason and of a question."""


class Word(NamedTuple):
    """A person's word on a case or a split."""

    number: int
    reason: str
    speaker: str
    """``operator/{code}``."""


def parse_word(prefix: str) -> Callable[[Any, Caller, Faults], Word]:
    """Reads requests that have a ``name`` with this prefix and a ``reason``."""

    # Any: several request types have these fields.
    def parse(message: Any, caller: Caller, faults: Faults) -> Word:
        number = parse_numbered_name("name", message.name, prefix, faults)
        return Word(number, faults.text("reason", message.reason, max_length=MAX_TEXT), str(caller))

    return parse
