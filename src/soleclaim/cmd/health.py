"""``soleclaim health``: ask a server whether it serves."""

import asyncio
import sys

import click

from soleclaim.cmd.options import Dialling, dialling_options
from soleclaim.cmd.output import OUT_OF_REACH, json_option, lang_option, print_json, say


@click.command()
@click.option("--target", required=True, metavar="HOST:PORT", help="The lookup or an adapter.")
@click.option("--service", default="", metavar="NAME", help="Full name of one service; the whole server without it.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help="Seconds.")
@dialling_options
@json_option
@lang_option
def health(*, target: str, service: str, timeout_s: float, dialling: Dialling, as_json: bool) -> None:
    """Print SERVING and exit 0, or what it says instead and exit 3."""
    status = asyncio.run(_ask(target, service, timeout_s, dialling))
    if as_json:
        print_json({"target": target, "service": service, "status": status})
    else:
        click.echo(say(f"{target} {service or 'server'}: {status}", f"{target} {service or '服务器'}：{status}"))
    sys.exit(0 if status == "SERVING" else OUT_OF_REACH)


async def _ask(target: str, service: str, timeout_s: float, dialling: Dialling) -> str:
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    from soleclaim.rpc.channel import open_channel

    channel = open_channel(target, dialling.tls(), caller=None)
    try:
        # The published type stub leaves the methods out.
        check = HealthStub(channel).Check  # type: ignore[attr-defined]
        answer = await check(HealthCheckRequest(service=service), timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {error.details()}"
    finally:
        await channel.close()
    return HealthCheckResponse.ServingStatus.Name(answer.status)
