"""Keys and a finished bundle, made once for the room."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import bundle_dummies

from edge.bundle.keys import KeyStore
from edge.bundle.signing import SigningKey, Trust


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    """A home with one builder and one device key."""
    store = KeyStore(tmp_path_factory.mktemp("home"))
    store.create("builder")
    store.create("device", "device")
    return store


@pytest.fixture(scope="session")
def key(store: KeyStore) -> SigningKey:
    """The builder key."""
    return store.load_signing_key()


@pytest.fixture(scope="session")
def device_key(store: KeyStore) -> SigningKey:
    """The device key."""
    return store.load_signing_key(role="device")


@pytest.fixture(scope="session")
def trust(store: KeyStore) -> Trust:
    """Trust in both."""
    return store.trust_store()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    """A bundle that no test may change."""
    place = tmp_path_factory.mktemp("finished") / "notes"
    bundle_dummies.build(place, key)
    return place


@pytest.fixture
def bundle(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return bundle_dummies.copy(finished, tmp_path / "notes")
