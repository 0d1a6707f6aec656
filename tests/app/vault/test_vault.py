"""The vault as the app uses it, both kinds: when these fail, patients' data is lost, readable, or not reachable."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge.app.vault import folder as folder_module
from edge.app.vault.folder import FolderVault
from edge.app.vault.protocol import (
    LockedError,
    MustWaitError,
    OpenVault,
    Vault,
    VaultState,
    WipedError,
    WrongPinError,
)
from edge.app.vault.sqlcipher import available
from edge.errors import EdgeError, InputError, ResourceError

from .conftest import OTHER_PIN, PASSPHRASE, PIN, Clocks, Make

MARKER = "Zwetschgenknoedel-Mustermann"


def made(make: Make, *ids: str) -> FolderVault:
    """A locked vault with these encounters."""
    vault = make()
    opened = vault.create(PIN)
    for encounter_id in ids:
        opened.save(encounter_id, f"data {encounter_id} {MARKER}".encode(), f"summary {MARKER}".encode())
    vault.lock()
    return vault


def test_protocols(make: Make) -> None:
    """If not: the app's types and the vaults have parted."""
    vault: Vault = make()
    opened: OpenVault = vault.create(PIN)
    assert opened.summaries() == ()


def test_sqlcipher_encrypts() -> None:
    """If not: what is installed as sqlcipher3 is a plain SQLite, and nothing would be encrypted."""
    assert available()


def test_save_load_list_delete(make: Make) -> None:
    """If not: the worklist is wrong."""
    opened = make().create(PIN)
    opened.save("a", b"A1", b"sum a")
    opened.save("b", b"B1", b"sum b")
    opened.save("a", b"A2", b"sum a2")
    assert opened.summaries() == (("a", b"sum a2"), ("b", b"sum b"))
    assert opened.load("a") == b"A2"
    opened.delete("a")
    opened.delete("a")
    assert opened.summaries() == (("b", b"sum b"),)
    with pytest.raises(InputError, match="no such encounter"):
        opened.load("a")


def test_survives_lock_and_restart(make: Make) -> None:
    """If not: a locked app forgets."""
    vault = make()
    opened = vault.create(PIN)
    opened.save("a", b"data", b"s")
    opened.set_setting("language", "de")
    assert vault.state == VaultState.OPEN
    vault.lock()
    vault.lock()
    assert vault.state == VaultState.LOCKED
    for call in (opened.summaries, lambda: opened.load("a"), lambda: opened.save("a", b"", b""), opened.check_audit):
        with pytest.raises(LockedError):
            call()
    again = make().unlock(PIN)
    assert again.load("a") == b"data"
    assert again.setting("language") == "de"
    assert again.setting("night") is None


def test_states(make: Make) -> None:
    """If not: the lock screen asks for the wrong thing."""
    vault = make()
    assert vault.state == VaultState.ABSENT
    with pytest.raises(InputError, match="no vault yet"):
        vault.unlock(PIN)
    vault.create(PIN)
    with pytest.raises(InputError, match="there is a vault already"):
        vault.create(PIN)
    vault.wipe()
    assert vault.state == make().state == VaultState.WIPED
    with pytest.raises(WipedError):
        vault.unlock(PIN)
    vault.create(OTHER_PIN).save("n", b"new", b"")
    vault.lock()
    assert make().unlock(OTHER_PIN).load("n") == b"new"


@pytest.mark.parametrize(
    "pin",
    ["", "12345", "1234567890123", "000000", "123456", "654321", "121212", "123123", "90123456", "aaaaaaaa", "abc12"],
)
def test_weak_pins_are_refused(make: Make, pin: str) -> None:
    """If not: the first guess opens the vault. The message must not repeat the PIN."""
    with pytest.raises(InputError) as caught:
        make().create(pin)
    assert not pin or pin not in str(caught.value)
    assert make().state == VaultState.ABSENT


def test_wrong_pins_wait(make: Make, clocks: Clocks) -> None:
    """If not: somebody at the device can try all PINs."""
    made(make)
    waits = []
    for _ in range(10):
        with pytest.raises(WrongPinError) as caught:
            make().unlock("999998")
        waits.append(caught.value.wait_s)
        if waits[-1]:
            with pytest.raises(MustWaitError):
                make().unlock(PIN)
            assert make().wait_s == waits[-1]
            clocks.pass_s(waits[-1])
    assert waits == [0, 0, 0, 30, 60, 300, 900, 3600, 3600, 3600]
    opened = make().unlock(PIN)
    assert opened.audit_entries(1)[0].action == "pin-wrong"
    assert opened.audit_entries(1)[0].detail == {"failures": "10"}


def test_clock_tricks_do_not_shorten(make: Make, clocks: Clocks) -> None:
    """If not: setting the clock, or restarting, gives free tries."""
    vault = made(make)
    for _ in range(5):
        with pytest.raises(WrongPinError) as caught:
            vault.unlock("999998")
        clocks.pass_s(0 if caught.value.failures == 5 else caught.value.wait_s)
    assert vault.wait_s == 60
    clocks.wall += 10_000  # forward, same start: the other clock tells
    assert vault.wait_s == 60
    clocks.wall -= 50_000  # back
    assert vault.wait_s == 60
    clocks.name, clocks.boot = "start-2", 5.0  # restarted
    assert make().wait_s == 60
    clocks.pass_s(59)
    assert make().wait_s == 1
    clocks.pass_s(1)
    make().unlock(PIN)


def test_lost_or_changed_counter_waits_longest(make: Make, tmp_path: Path) -> None:
    """If not: deleting one file gives free tries."""
    vault = made(make)
    path = tmp_path / "data/vault/attempts.json"
    for damage in (path.unlink, lambda: path.write_text("[]"), lambda: path.write_bytes(b"\xff" * 512)):
        damage()
        assert vault.wait_s == 3600
        with pytest.raises(MustWaitError):
            vault.unlock(PIN)


def test_counted_before_it_is_looked_at(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: killing the app in the right moment gives free tries."""
    vault = made(make)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module.KeyFile, "unwrap", killed)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            vault.unlock(PIN)
    assert make().wait_s == 30


def test_check_pin_and_change_pin(make: Make, clocks: Clocks) -> None:
    """If not: signing takes any PIN, or an open tablet lets one guess the PIN."""
    vault = make()
    opened = vault.create(PIN)
    opened.save("a", b"data", b"")
    vault.check_pin(PIN)
    for _ in range(4):
        with pytest.raises(WrongPinError):
            vault.check_pin(OTHER_PIN)
    with pytest.raises(MustWaitError):
        vault.change_pin(PIN, OTHER_PIN)
    clocks.pass_s(30)
    vault.change_pin(PIN, OTHER_PIN)
    assert opened.load("a") == b"data"  # stays open
    vault.lock()
    with pytest.raises(WrongPinError):
        vault.unlock(PIN)
    assert vault.unlock(OTHER_PIN).load("a") == b"data"


def test_wipe_after(make: Make, clocks: Clocks, tmp_path: Path) -> None:
    """If not: the wipe that was asked for does not come, or comes unasked."""
    vault = made(make, "a")
    with pytest.raises(InputError):
        vault.set_wipe_after(PIN, 2)
    vault.set_wipe_after(PIN, 5)
    for _ in range(4):
        with pytest.raises(WrongPinError) as caught:
            vault.unlock("999998")
        clocks.pass_s(caught.value.wait_s)
    vault.unlock(PIN)
    vault.lock()
    for _ in range(4):
        with pytest.raises(WrongPinError) as caught:
            vault.unlock("999998")
        clocks.pass_s(caught.value.wait_s)
    with pytest.raises(WipedError):
        vault.unlock("999998")
    assert vault.state == VaultState.WIPED
    assert sorted(path.name for path in (tmp_path / "data").rglob("*")) == ["lock", "wiped"]


def test_killed_at_the_last_try_is_wiped(make: Make, clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: killing the app after each last try gives tries without end where wiping is switched on."""
    vault = made(make)
    vault.set_wipe_after(PIN, 5)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folder_module.KeyFile, "unwrap", killed)
        for _ in range(5):
            with pytest.raises(KeyboardInterrupt):
                vault.unlock(PIN)
            clocks.pass_s(60)
    with pytest.raises(WipedError):
        vault.unlock(PIN)
    assert vault.state == VaultState.WIPED


def test_old_key_file_is_overwritten(make: Make, tmp_path: Path) -> None:
    """If not: the key under the old PIN lies on the disk after the PIN was changed."""
    vault = made(make)
    held = os.open(tmp_path / "data/vault/key.json", os.O_RDONLY)
    vault.change_pin(PIN, OTHER_PIN)
    assert b"wrapped" not in os.pread(held, 4096, 0)
    os.close(held)


def test_database_settings(make: Make) -> None:
    """If not: a commit is not durable, a deleted word stays in the file, or a temporary file is written."""
    vault = make()
    opened = vault.create(PIN)
    wanted = {"journal_mode": "truncate", "synchronous": 2, "secure_delete": 1, "temp_store": 2, "mmap_size": 0}
    wanted |= {"locking_mode": "exclusive"}
    if vault.kind == "sqlcipher":
        wanted |= {"cipher_memory_security": "1", "cipher_use_hmac": "1", "cipher_plaintext_header_size": "0"}
    for name, value in wanted.items():
        found = opened._connection.execute(f"PRAGMA {name}").fetchone()  # type: ignore[attr-defined]
        assert found is None or found[0] == value, name
        assert found is not None or name == "mmap_size"


def test_wipe_leaves_no_key_and_no_data(make: Make, tmp_path: Path) -> None:
    """If not: a wiped device still has the data."""
    vault = make()
    vault.create(PIN).save("a", b"x", b"y")
    held = os.open(tmp_path / "data/vault/key.json", os.O_RDONLY)
    before = os.pread(held, 4096, 0)
    vault.wipe()
    after = os.pread(held, 4096, 0)
    os.close(held)
    assert len(after) == len(before)
    assert b"wrapped" not in after  # overwritten where it lay, not only unlinked
    assert sorted(path.name for path in (tmp_path / "data").rglob("*")) == ["lock", "wiped"]


def test_one_holder(make: Make, kind: type[FolderVault], tmp_path: Path) -> None:
    """If not: two processes write the same database."""
    vault = make()
    vault.create(PIN)
    second = make()
    for call in (lambda: second.unlock(PIN), second.wipe, lambda: second.check_pin(PIN)):
        with pytest.raises(ResourceError, match="in use by another process"):
            call()
    code = (
        f"from edge.app.vault.{kind.__module__.split('.')[-1]} import {kind.__name__} as V; from pathlib import Path\n"
        f"V(Path({str(tmp_path / 'data')!r})).unlock({PIN!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stderr.strip().endswith(
        "ResourceError: the vault is in use by another process; close the other one first."
    )
    vault.lock()
    second.unlock(PIN)


def test_modes(make: Make, tmp_path: Path) -> None:
    """If not: another user of the machine reads the files."""
    before = os.umask(0)
    try:
        (tmp_path / "data").mkdir(mode=0o777)
        vault = make()
        opened = vault.create(PIN)
        opened.save("a", b"x", b"y")
        opened.audit("sign", "a")
        opened.backup(tmp_path / "b.edgevault", PASSPHRASE)
        vault.change_pin(PIN, OTHER_PIN)
    finally:
        os.umask(before)
    for path in (tmp_path / "data", *(tmp_path / "data").rglob("*"), tmp_path / "b.edgevault"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path.name


def test_no_plain_text(make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """If not: whoever finds the tablet greps for a name."""
    vault = make()
    opened = vault.create(PIN)
    marker = MARKER.encode()
    for number in range(30):
        opened.save(f"enc-{number}", marker * 200, marker)
        opened.set_setting(f"signer{number}", MARKER)
    opened.audit("encounter-open", "enc-1")
    opened.delete("enc-3")
    opened.backup(tmp_path / "b.edgevault", PASSPHRASE)
    vault.lock()
    with pytest.raises(WrongPinError):
        vault.unlock("999998")
    if vault.kind == "rows":  # what no page encryption hides must say nothing by itself
        words = [b"enc-1", b"encounter-open", b"signer"]
    else:
        words = [b"enc-1", b"encounter", b"signer", b"CREATE", b"SQLite"]
    for path in [*(tmp_path / "data").rglob("*"), tmp_path / "b.edgevault"]:
        data = path.read_bytes() if path.is_file() else b""
        for word in (marker, marker[:12], marker.lower(), marker.hex().encode(), *words):
            assert word not in data, path.name
        assert MARKER not in path.name
    assert capfd.readouterr() == ("", "")


def test_reprs_and_errors_say_nothing(make: Make) -> None:
    """If not: a traceback or a log carries a patient's words."""
    vault = make()
    opened = vault.create(PIN)
    opened.save("a", MARKER.encode(), MARKER.encode())
    texts = [repr(vault), repr(opened), repr(opened._keys)]
    for call in (
        lambda: opened.save(MARKER + " x", b"", b""),
        lambda: opened.load(MARKER),
        lambda: opened.set_setting(MARKER + " ", ""),
        lambda: opened.audit(MARKER),
        lambda: opened.audit("sign", MARKER + " "),
        lambda: opened.audit("sign", "a", {MARKER: "1"}),
        lambda: opened.audit("sign", "a", {"reason": MARKER}),
    ):
        with pytest.raises(EdgeError) as caught:
            call()
        texts.append(str(caught.value))
    assert not any(MARKER in text or "\n" in text or PIN in text for text in texts)


def test_keys_are_overwritten(make: Make) -> None:
    """If not: a memory image of a locked app has the key where it was."""
    vault = make()
    keys = vault.create(PIN)._keys  # type: ignore[attr-defined]
    held = [keys._master, *keys._children.values()]
    assert all(any(key) for key in held)
    vault.lock()
    assert not any(any(key) for key in held)


def test_device_secret(make: Make, tmp_path: Path) -> None:
    """If not: a copied folder opens with the PIN alone although it was bound to the device."""
    vault = make(device_secret=b"s" * 32)
    vault.create(PIN).save("a", b"x", b"")
    vault.lock()
    with pytest.raises(ResourceError, match="device key"):
        make().unlock(PIN)
    other = make(device_secret=b"t" * 32)
    assert other.wait_s == 3600  # the counter is not authentic under another secret
    assert make(device_secret=b"s" * 32).state == VaultState.LOCKED


def test_short_device_secret(make: Make) -> None:
    """If not: a secret that can be guessed is taken for one."""
    with pytest.raises(InputError, match="too short"):
        make(device_secret=b"s" * 15)


def test_no_core_dumps() -> None:
    """If not: a crash writes the memory of an open vault to disk."""
    code = "from edge.app.vault.disk import no_core_dumps; no_core_dumps();"
    code += "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "(0, 0)"
