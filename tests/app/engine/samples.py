"""Hypothesis strategies for messages."""

from __future__ import annotations

from hypothesis import strategies as st

from edge.app.engine import messages as m

WORD = st.text(max_size=12)
RUN = st.sampled_from(["r1", "r2", ""])
COUNT = st.integers(0, 1 << 40)
NUMBER = st.floats(0, 1e6, allow_nan=False)
MAYBE = st.none() | NUMBER
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=6,
)
VALUE = st.dictionaries(WORD, JSON, max_size=3)
FACTS = st.builds(
    m.BundleFacts,
    name=WORD,
    profile=WORD,
    target=WORD,
    behaviour_digest=WORD,
    bundle_digest=WORD,
    verified=st.sampled_from(["passed", "failed", "none", "forced"]),
    tasks=st.lists(WORD, max_size=3).map(tuple),
    load_ms=NUMBER,
    context_tokens=COUNT,
    predicted_peak_bytes=COUNT,
    model_words=WORD,
)
FIGURES = st.builds(m.Figures, MAYBE, MAYBE, COUNT, NUMBER, COUNT)
CODES = st.sampled_from(["missing", "mismatch", "untrusted", "unverified", "low_memory", "unsupported"])
REQUESTS = st.one_of(
    st.builds(m.DraftNote, RUN, WORD, WORD),
    st.builds(m.RankDifferential, RUN, WORD, WORD, WORD, st.none() | st.sampled_from(["OD", "OS"])),
    st.builds(m.RunBenchmark, RUN),
    st.builds(m.Cancel, RUN),
    st.just(m.Close()),
)
EVENTS = st.one_of(
    st.builds(m.Loading, st.floats(0, 1), MAYBE),
    st.builds(m.Ready, FACTS),
    st.builds(m.Refused, CODES, WORD, COUNT, COUNT),
    st.builds(m.Started, RUN, WORD, st.sampled_from(["note", "differential", "benchmark"]), COUNT),
    st.builds(m.Reading, RUN, COUNT, COUNT),
    st.builds(m.Piece, RUN, WORD, st.integers(1, 9)),
    st.builds(m.LineDrafted, RUN, VALUE),
    st.builds(m.Progress, RUN, COUNT, COUNT),
    st.builds(m.TooLong, RUN, st.integers(1, 90)),
    st.builds(m.Unreadable, RUN),
    st.builds(m.Result, RUN, WORD, WORD, VALUE, FIGURES, st.booleans()),
    st.builds(m.Failed, RUN, WORD),
    st.builds(m.DeviceReading, MAYBE, st.booleans(), COUNT, COUNT, MAYBE),
    st.builds(m.BenchmarkDone, RUN, st.booleans(), WORD, WORD),
    st.builds(m.Died, st.integers(-64, 255), WORD),
)
