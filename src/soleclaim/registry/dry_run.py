"""The dry run: every reason for which an issuance would be refused now, and what the other registries say."""

import secrets

from soleclaim.core.errors import Reason
from soleclaim.registry.domain import Order, Refusal
from soleclaim.registry.lookup import LockWish
from soleclaim.registry.peers import PeerAnswer, Peers
from soleclaim.registry.workflow import Measured, Tools, find_project, measure


class IssuanceCheck:
    """Changes nothing anywhere."""

    def __init__(self, tools: Tools, peers: Peers) -> None:
        self._tools = tools
        self._peers = peers

    async def run(self, order: Order) -> tuple[list[Refusal], list[PeerAnswer]]:
        """Refusals and peers' answers; raises ``LookupUnavailable``.

        A project that the lookup does not know yet is told as ``ACTIVITY_UNKNOWN``: only registering it, which
        changes something, could show whether its identity holds; and nobody can be asked about it.
        """
        tools = self._tools
        refusals: list[Refusal] = []
        activity = await tools.lookup.resolve(order.native_project_id)
        measured = await measure(tools, order.native_project_id, order.period, order.units)
        if isinstance(measured, Refusal):
            refusals.append(measured)
        if activity is None:
            project = await find_project(tools, order.native_project_id)
            unknown = Refusal.of(Reason.ACTIVITY_UNKNOWN, what=f"{tools.registry} {order.native_project_id}")
            refusals.append(project if isinstance(project, Refusal) else unknown)
            return refusals, []
        # Without a measured quantity the lock is still asked for, so that all reasons are told at once.
        known = measured if isinstance(measured, Measured) else Measured(0, 0, order.units or 1)
        wish = LockWish(
            activity=activity,
            period=order.period,
            units=known.units,
            carried_in=known.carried_in,
            reference=f"check-{secrets.token_hex(8)}",
            declaration=order.declaration,
        )
        refusals += await tools.lookup.check(wish)
        return refusals, await self._peers.ask(activity, order.period)
