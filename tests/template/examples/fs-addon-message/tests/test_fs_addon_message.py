import fs_addon_message
import pytest
from fs_kernel import ConfigError
from fs_kernel.testing.suites import AddonSuite


class TestConformance(AddonSuite):
    plugin = fs_addon_message


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="begin with https"):
        fs_addon_message.Options(address="ada@example.org")


def test_the_old_name_of_the_address_is_understood():
    stored = {"url": "https://example.org", "timeout": 5.0}
    new = fs_addon_message.migrate_options("addon.message", stored, "0.1.3")
    assert new == {"address": "https://example.org", "timeout": 5.0}
