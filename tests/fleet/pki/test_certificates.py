"""If these fail, a certificate says something that it must not: a wrong purpose, name, host or date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle.canonical import SLUG
from edge.errors import ClockError, InputError, SpecError, UntrustedError
from edge.fleet.pki import certificates as make

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = make.new_key()
ROOT = make.new_root(KEY, "0a0a0a0a", ("broker.example.org", "203.0.113.7"), NOW)


def leaf(name: str, hosts: tuple[str, ...] = ()) -> x509.Certificate:
    return make.new_leaf(ROOT, KEY, KEY.public_key(), name, NOW, hosts=hosts)


@pytest.mark.parametrize("name", ["tablet-1", "a", "clinic.a_7", "x" * 64, "pages-tablet"])
def test_devices_name(name: str) -> None:
    """A device of an allowed name gets no certificate."""
    assert make.kind_of(name) == "device"
    assert make.common_name(leaf(name).subject) == name


@pytest.mark.parametrize(
    "name",
    ["", "Tablet", "a/b", "a+", "#", "x" * 65, "collector-x", "collector-0", "collector-33", "operator-01", "brokerage",
     "broker-²", "page-", "a b", "ä", "collectors"],
)  # fmt: skip
def test_refused_names(name: str) -> None:
    """A name that is reserved, or that would mean something in a topic, gets a certificate."""
    with pytest.raises(InputError):
        make.kind_of(name)


@given(st.from_regex(SLUG, fullmatch=True))
def test_every_name_has_one_meaning(name: str) -> None:
    """Some name is both a device and a part of the fleet, or breaks what makes certificates."""
    try:
        kind = make.kind_of(name)
    except InputError:
        return
    parts = ("collector", "operator", "broker", "page")
    assert (kind == "device") != (name in parts or name.startswith(tuple(f"{part}-" for part in parts)))


def test_purposes() -> None:
    """A stolen tablet's certificate could stand in for the broker, or sign others."""
    for name, hosts, purpose in (
        ("tablet-1", (), ExtendedKeyUsageOID.CLIENT_AUTH),
        ("collector-2", (), ExtendedKeyUsageOID.CLIENT_AUTH),
        ("operator", (), ExtendedKeyUsageOID.CLIENT_AUTH),
        ("broker", ("broker.example.org",), ExtendedKeyUsageOID.SERVER_AUTH),
        ("page", ("127.0.0.1",), ExtendedKeyUsageOID.SERVER_AUTH),
    ):
        extensions = leaf(name, hosts).extensions
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.digital_signature and not usage.key_cert_sign and not usage.crl_sign
    root = ROOT.extensions
    assert root.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    assert root.get_extension_for_class(x509.NameConstraints).critical


def test_dates() -> None:
    """A device whose clock stands at the release of edge is refused, or a certificate outlives its root."""
    device = leaf("tablet-1")
    assert device.not_valid_before_utc == ROOT.not_valid_before_utc == make.EARLIEST_PLAUSIBLE_TIME
    assert device.not_valid_after_utc == NOW + make.LEAF_LIFE
    late = make.new_leaf(ROOT, KEY, KEY.public_key(), "tablet-1", ROOT.not_valid_after_utc - timedelta(days=3))
    assert late.not_valid_after_utc == ROOT.not_valid_after_utc


def test_serials_are_random() -> None:
    """Serials can be guessed or collide."""
    serials = [leaf("tablet-1").serial_number for _ in range(20)]
    assert len(set(serials)) == 20 and max(serials).bit_length() > 110


@pytest.mark.parametrize("host", ["broker.example.org", "a.broker.example.org", "203.0.113.7", "10.1.2.3", "x.local",
                                  "localhost", "fd00::1"])  # fmt: skip
def test_hosts_within(host: str) -> None:
    """A broker under an allowed name gets no certificate."""
    assert not make.uncovered_hosts(ROOT, (host,))
    leaf("broker", (host,))


@pytest.mark.parametrize("host", ["example.org", "bank.example.com", "203.0.113.8", "notlocalhost", "2001:db8::1"])
def test_hosts_outside(host: str) -> None:
    """A root that a browser trusts for the page can vouch for somebody else's site."""
    with pytest.raises(SpecError, match="may not vouch"):
        leaf("broker", (host,))


@pytest.mark.parametrize("host", ["", "a b", "*.example.org", "a..b", "-a", "a-", "ex\nample", "a" * 300])
def test_odd_hosts(host: str) -> None:
    """A name that is no host goes into a certificate."""
    with pytest.raises(SpecError):
        make.general_names([host])


@pytest.mark.parametrize(
    "now", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 10, 31, tzinfo=UTC), datetime(2107, 1, 1, tzinfo=UTC)]
)
def test_impossible_clock(now: datetime) -> None:
    """Something is signed with a clock that cannot be right."""
    with pytest.raises(ClockError, match="this clock says"):
        make.read_time(lambda: now)


def test_clock_that_went_back() -> None:
    """A clock that fell behind what was signed already is not noticed; or one that is a little behind stops work."""
    make.read_time(lambda: NOW, NOW + timedelta(hours=3))
    with pytest.raises(ClockError, match="signed on"):
        make.read_time(lambda: NOW, NOW + timedelta(days=30))


def test_revocation_lists_count_up() -> None:
    """Two lists of one second have one date, of which OpenSSL in a running broker keeps the older; or one from the
    future locks out the whole fleet."""
    first = make.new_revocation_list(ROOT, KEY, (), NOW, None)
    entry = make.Revoked(7, NOW, x509.ReasonFlags.key_compromise)
    second = make.new_revocation_list(ROOT, KEY, (entry,), NOW, first)
    third = make.new_revocation_list(ROOT, KEY, make.revoked_entries(second), NOW - timedelta(hours=1), second)
    assert first.last_update_utc < second.last_update_utc < third.last_update_utc
    assert [item.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for item in (first, second, third)
            ] == [1, 2, 3]  # fmt: skip
    assert make.revoked_entries(third) == (entry,)
    assert third.last_update_utc < NOW - timedelta(hours=12)
    assert third.next_update_utc == ROOT.not_valid_after_utc


def test_another_root() -> None:
    """A certificate of another fleet passes for one of this."""
    other_key = make.new_key()
    other = make.new_root(other_key, "0a0a0a0a", ("localhost",), NOW)
    make.check_signed(leaf("tablet-1"), ROOT, "x")
    with pytest.raises(UntrustedError):
        make.check_signed(leaf("tablet-1"), other, "x")
