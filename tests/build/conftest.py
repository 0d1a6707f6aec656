"""The room's tests compute small products side by side with others: BLAS on one thread, as the build itself has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge.build.exact import one_blas_thread


@pytest.fixture(autouse=True, scope="session")
def quiet_blas() -> Iterator[None]:
    """Threads of BLAS that spin while they wait make these tests several times slower on a busy machine."""
    with one_blas_thread():
        yield
