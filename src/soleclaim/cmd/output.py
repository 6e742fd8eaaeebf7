"""What every command says and how: language, JSON, tables, and mistakes told without a traceback."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from google.protobuf.message import Message

LANGUAGES: Final = ("en", "zh")

REFUSED: Final = 1
"""Exit code: the answer is no, or what was checked is not as it must be."""
MISTAKE: Final = 2
"""Exit code: the command line, a file or a configuration has to be mended."""
OUT_OF_REACH: Final = 3
"""Exit code: a server, registry or store did not answer; nothing is known."""


class Failed(Exception):
    """A command ran and what it must show is not so; the message is for people. Exit code ``REFUSED``."""


_language: ContextVar[str] = ContextVar("language")

Command = TypeVar("Command", bound=Callable[..., Any])


def language() -> str:
    """``en`` or ``zh``: the last ``--lang``, else ``SOLECLAIM_LANG``, else English."""
    chosen = _language.get(os.environ.get("SOLECLAIM_LANG", "en"))
    return chosen if chosen in LANGUAGES else "en"


def _choose(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value:
        _language.set(value)


def lang_option(command: Command) -> Command:
    """``--lang en|zh``."""
    # Eager, so that `--lang zh --help` is in Chinese and a later mistake is told in the language asked for.
    option = click.option(
        "--lang",
        type=click.Choice(LANGUAGES),
        expose_value=False,
        is_eager=True,
        callback=_choose,
        help="Language of what is printed. 输出语言。",
    )
    return option(command)


def json_option(command: Command) -> Command:
    """``--json``: one document on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def say(english: str, chinese: str) -> str:
    """The text in the language asked for."""
    return chinese if language() == "zh" else english


def print_json(document: Mapping[str, object]) -> None:
    """One document, readable, UTF-8 as it is."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people; wide cells fold."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    # A pipe has no width: do not fold there, so that lines can be searched.
    Console(width=None if sys.stdout.isatty() else 240, markup=False).print(table)


def as_dict(message: "Message") -> dict[str, Any]:
    """A message as a JSON document, unset scalars included."""
    from google.protobuf.json_format import MessageToDict

    document: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document


def print_message(message: "Message", *, as_json: bool) -> None:
    """One message: a JSON document, or a table of its fields."""
    if as_json:
        print_json(as_dict(message))
        return
    rows = [
        (field.name, _told(field, getattr(message, field.name)))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    ]
    print_table((say("field", "字段"), say("value", "值")), rows)


def _told(field: Any, value: Any) -> str:  # noqa: ANN401  a descriptor, and whatever the field holds
    values = value if field.is_repeated else [value]
    return "\n".join(_told_once(field, each) for each in values) or "-"


def _told_once(field: Any, value: Any) -> str:  # noqa: ANN401  a descriptor, and whatever the field holds
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name.removeprefix(field.enum_type.values[0].name.removesuffix("UNSPECIFIED")) if known else "?"
    if field.message_type is not None:
        return _told_message(value)
    if isinstance(value, bool):
        return say("yes", "是") if value else say("no", "否")
    return str(value) or "-"


def _told_message(value: Any) -> str:  # noqa: ANN401  any message
    """An instant, a period or a refusal as people read it; of any other message what is set."""
    name = value.DESCRIPTOR.full_name
    if name == "google.protobuf.Timestamp":
        return str(value.ToJsonString())
    if name == "google.type.Interval":
        return tell_interval(value)
    if name == "google.rpc.Status":
        from soleclaim.rpc.status import from_status

        refusal = from_status(value)
        return say(refusal.message_en, refusal.message_zh)
    return ", ".join(f"{field.name} {_told(field, each)}" for field, each in value.ListFields())


def print_list(
    key: str,
    rows: "list[Any]",
    columns: tuple[str, ...],
    cells: Callable[[Any], tuple[str, ...]],
    *,
    as_json: bool,
) -> None:
    """Many messages: a JSON document with a list under ``key``, or a table with a row each; none is told."""
    if as_json:
        print_json({key: [as_dict(row) for row in rows]})
        return
    print_table(columns, [cells(row) for row in rows])
    if not rows:
        tell(say("nothing found", "未找到"))


def tell_interval(interval: Any) -> str:  # noqa: ANN401  google.type.Interval
    """``start/end`` of a half-open period; ``..`` while no end is known."""
    end = interval.end_time.ToJsonString() if interval.HasField("end_time") else ".."
    return f"{interval.start_time.ToJsonString()}/{end}"


def tell(message: str) -> None:
    """One line to standard error."""
    click.echo(f"soleclaim: {message}", err=True)


def explain(error: BaseException) -> tuple[str, int] | None:
    """What a person should read and the exit code; ``None`` for a bug, which deserves its traceback.

    Nothing is imported here: a class that was never loaded cannot have been raised. Classes of ours whose name
    ends in ``Fault`` carry a sentence for people.
    """
    names = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(error).__mro__}
    told = _of_ours(error, names)
    return told or _of_others(error, names)


def _of_ours(error: BaseException, names: set[str]) -> tuple[str, int] | None:
    if "soleclaim.RemoteUnavailable" in names:
        return say(
            f"no answer: {error}; check the address, that the server runs, and that one authority signed both sides",
            f"无应答：{error}；请检查地址、服务是否运行，以及双方证书是否由同一机构签发",
        ), OUT_OF_REACH
    if names & {"soleclaim.RemoteRefusal", "soleclaim.DomainError"}:
        return _refusal(error, names)
    if isinstance(error, Failed):
        return str(error), REFUSED
    if any(name.startswith("soleclaim.") and name.endswith("Fault") for name in names):
        return str(error), MISTAKE
    return (str(error), OUT_OF_REACH) if "soleclaim.NativeUnavailable" in names else None


def _refusal(error: BaseException, names: set[str]) -> tuple[str, int]:
    message = getattr(error, f"message_{language()}", str(error))
    reason = getattr(getattr(error, "reason", None), "value", None)
    if getattr(error, "code", None) == "UNIMPLEMENTED":
        return say(
            "the server answers, but does not offer this service; is it an adapter's address in place of the lookup's?",
            "服务有应答，但不提供该功能；是否误将适配器地址用作查询中心地址？",
        ), MISTAKE
    if reason == "STORE_BUSY" and "soleclaim.DomainError" in names:
        # Not an answer of a server: this very process cannot reach its own store.
        return say(
            "the database does not answer or is busy; check that it runs and that the URL is right",
            "数据库无应答或繁忙；请检查其是否运行以及 URL 是否正确",
        ), OUT_OF_REACH
    return (f"{reason}: {message}" if reason else message), REFUSED


def _of_others(error: BaseException, names: set[str]) -> tuple[str, int] | None:
    if isinstance(error, UnicodeDecodeError):
        return say(
            f"a file that was given is not in UTF-8: {error.reason} at byte {error.start}; save it as UTF-8",
            f"给出的文件不是 UTF-8 编码：第 {error.start} 字节处 {error.reason}；请另存为 UTF-8",
        ), MISTAKE
    if names & {
        "sqlalchemy.OperationalError",
        "sqlalchemy.InterfaceError",
        "sqlite3.DatabaseError",
        "psycopg.OperationalError",
    }:
        # Only the driver's own first line: the statement and the URL, with its password, stay out.
        first = (str(getattr(error, "orig", error)).strip().splitlines() or [""])[0]
        return say(
            f"the database does not answer or refuses: {first}; check that it runs and that the URL is right",
            f"数据库无应答或拒绝：{first}；请检查其是否运行以及 URL 是否正确",
        ), OUT_OF_REACH
    if "httpx.TransportError" in names:
        return say(
            f"no answer over HTTP: {error}; check the address", f"HTTP 无应答：{error}；请检查地址"
        ), OUT_OF_REACH
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", MISTAKE
    return None
