"""The terminal table: the same words as the report, in a narrow window and in a pipe."""

import io

import pytest
from bench_dummies import make_result

from edge.bench.gates import check_all
from edge.bench.terminal import bench_progress, print_result


@pytest.mark.parametrize("columns", ["60", "200"])
def test_result_and_verdict(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, `edge bench` prints nothing in a pipe, or cuts its figures."""
    monkeypatch.setenv("COLUMNS", columns)
    out = io.StringIO()
    result = make_result(skipped=("prompt of 2048 tokens: the context holds 1024",))
    print_result(result, check_all({"decode_tokens_per_s_min": 99}, result), out)
    text = " ".join(out.getvalue().split())
    for words in ("2,200 ms", "41.2 tok/s", "no sensor", "✕ decode 41.2 tok/s, needs 99 tok/s: fail", "Failed"):
        assert words in text
    assert "\x1b" not in text


def test_progress_is_silent_off_a_terminal() -> None:
    """If it fails, a log is filled with bars."""
    out = io.StringIO()
    with bench_progress(out) as progress:
        progress("load", 0.5)
    assert out.getvalue().strip() == ""
