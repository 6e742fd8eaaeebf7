"""A target that somebody else runs: a lookup, certificates and commands to kill and restart, all given."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from soleclaim.conformance.cases import CASES
from soleclaim.conformance.families import filings, fixture_of
from soleclaim.conformance.fixture import Adapter, CertificatePair, Certificates, Fixture
from soleclaim.conformance.model import Verdict
from soleclaim.conformance.play import play
from soleclaim.conformance.world import OwnLookup, adapter_sections, make_certificates, open_target
from soleclaim.parts.configuration import migrate_store, write_toml
from soleclaim.parts.examples import EXAMPLES
from soleclaim.parts.process import SOLECLAIM, Part, free_port
from soleclaim.parts.stand_ins import stand_in
from soleclaim.rpc.tls import TlsFiles

GEC: Final = EXAMPLES["gec"]
PLAYED: Final = ("1.1", "1.3", "1.4", "1.5", "4.4", "7.7", "8.1", "8.3", "12.2")


def _pair(files: TlsFiles) -> CertificatePair:
    return CertificatePair(certificate=files.certificate, key=files.key)


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[tuple[str, str, Fixture]]:
    """Where a target and its lookup answer, and the fixture that tells how to kill and restart it."""
    everybody = make_certificates(tmp_path / "pki", tmp_path, registry="gec", peer="ccer")
    assert everybody.lookup is not None
    assert everybody.registry is not None
    assert everybody.identities.peer is not None
    lookup = OwnLookup(tmp_path, f"127.0.0.1:{free_port()}", everybody.lookup)
    await lookup.prepare()
    await lookup.start()
    address, journal = f"127.0.0.1:{free_port()}", f"sqlite+aiosqlite:///{tmp_path / 'journal.db'}"
    migrate_store("journal", journal)
    with stand_in(GEC, tmp_path / "native") as native:
        await native.fill(filings(GEC))
        write_toml(
            tmp_path / "gec.toml", adapter_sections(native, address, lookup.address, journal, everybody.registry)
        )
        words = [*SOLECLAIM, "adapter", "serve", "--registry", "gec", "--config", str(tmp_path / "gec.toml")]
        start = f"cd {tmp_path}; setsid {shlex.join(words)} >adapter.log 2>&1 & echo $! >{tmp_path / 'pid'}"
        kill = f"kill -9 $(cat {tmp_path / 'pid'})"
        certificates = Certificates(
            authority=everybody.identities.operator.authority,
            operator=_pair(everybody.identities.operator),
            peer=_pair(everybody.identities.peer),
        )
        adapter = Adapter(kill=("sh", "-c", kill), restart=("sh", "-c", start))
        fixture = fixture_of(native, []).model_copy(update={"adapter": adapter, "certificates": certificates})
        await _sh(start, tmp_path)
        yield address, lookup.address, fixture
        await _sh(kill, tmp_path)
        await lookup.stop()


async def _sh(command: str, folder: Path) -> None:
    part = Part("sh", ("sh", "-c", command), folder / "sh.log")
    await part.spawn()
    await asyncio.wait_for(part.wait(20), 20)


async def test_target_of_somebody_else_is_killed_and_started_by_his_commands(
    target: tuple[str, str, Fixture], tmp_path: Path
) -> None:
    address, lookup, fixture = target
    folder = tmp_path / "run"
    folder.mkdir()
    cases = [case for case in CASES if case.number in PLAYED]
    async with open_target(folder, fixture, address, pki=None, lookup=lookup, lookup_listen="") as stand:
        results = await play(stand, cases=cases)
    verdicts = {each.case.number: each.verdict for each in results}
    told = {each.case.number: each.came_back.en for each in results}
    # No certificate of a regulator was given, and a lookup that is somebody else's is not ended.
    skipped = {"1.4", "7.7"}
    assert verdicts == {n: Verdict.SKIPPED if n in skipped else Verdict.PASSED for n in PLAYED}, told
