"""The adapter's configuration."""

from pathlib import Path

import pytest

from soleclaim.registry.config import ConfigFault, load_config
from soleclaim.registry.instruments import Instrument

GOOD = """
[registry]
code = "gec"
[server]
listen = "127.0.0.1:0"
[tls]
authority = "authority.crt"
certificate = "/abs/own.crt"
key = "own.key"
[journal]
url = "sqlite+aiosqlite:///journal.db"
[lookup]
target = "127.0.0.1:7300"
[native]
kind = "gec"
url = "http://127.0.0.1:8080"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "adapter.toml"
    path.write_text(text)
    return path


def test_a_short_file_is_enough_and_paths_are_relative_to_it(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    assert config.registry.known_instrument() == Instrument("GEC", "kWh", 1000)
    assert config.tls is not None
    assert config.tls.authority == tmp_path / "authority.crt"
    assert config.tls.certificate == Path("/abs/own.crt")
    assert config.limits().native_call.total_seconds() > config.native.timeout_s


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    bad = GOOD.replace('listen = "127.0.0.1:0"', 'listen = "nowhere"\nlissen = 1').replace('kind = "gec"', "")
    bad += "timeout_s = -1\n[lease]\nttl_s = 3\nrenew_every_s = 3\n"
    with pytest.raises(ConfigFault) as fault:
        load_config(write(tmp_path, bad))
    told = str(fault.value)
    for place in ("server.listen: must be HOST:PORT", "server.lissen", "native.kind", "native.timeout_s", "lease: "):
        assert place in told
    assert "5 fault(s)" in told


def test_a_registry_that_is_not_known_states_its_instrument(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="has no instrument of registry tigr: state instrument and base_unit"):
        load_config(write(tmp_path, GOOD.replace('code = "gec"', 'code = "tigr"')))
    stated = 'code = "tigr"\ninstrument = "TIGR"\nbase_unit = "kgCO2e"'
    config = load_config(write(tmp_path, GOOD.replace('code = "gec"', stated)))
    assert config.registry.known_instrument() == Instrument("TIGR", "kgCO2e", 1000)


def test_what_is_not_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="is not TOML"):
        load_config(write(tmp_path, "[registry"))
