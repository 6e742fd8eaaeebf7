"""Back-off must not outlast the minute in which every doubt has to end."""

from soleclaim.registry.config import RecoverySection
from soleclaim.rpc import channel
from tests.robustness.scenarios import AIM_S


def test_no_back_off_of_the_defaults_outlasts_the_minute() -> None:
    reconnect_s = dict(channel._OPTIONS)["grpc.max_reconnect_backoff_ms"]
    assert isinstance(reconnect_s, int)
    # Once until the channel connects, once until the entry is tried.
    assert 1.2 * reconnect_s / 1000 + RecoverySection().longest_pause_s + RecoverySection().poll_s < AIM_S
