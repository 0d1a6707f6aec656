"""The machines of tests/e2e."""

from tests.e2e.conftest import built, verified, world

__all__ = ["built", "verified", "world"]
