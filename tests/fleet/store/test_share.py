"""The collectors' shared subscription. When these fail, a stolen tablet halves what the fleet hears at once."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edge.fleet.store.share import share_group
from edge.fleet.store.store import open_store


def test_all_collectors_of_a_database_have_one_group_that_nobody_guesses(tmp_path: Path) -> None:
    """If not: each collector gets every message, or a device can name the group."""
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    stores = [open_store(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        groups = set(pool.map(share_group, stores))
    assert len(groups) == 1
    assert re.fullmatch(r"collectors-[0-9a-f]{16}", groups.pop())
    for store in stores:
        store.close()
    other = open_store(f"sqlite:///{tmp_path / 'other.db'}")
    assert share_group(other) != share_group(open_store(url))
