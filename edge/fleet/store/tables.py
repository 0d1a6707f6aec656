"""The tables of the fleet's database, the same in SQLite and PostgreSQL.

Times are RFC 3339 UTC text (`2026-11-22T12:00:00.123Z`), which sorts as text. `*_json` names are not used: a column
whose comment says JSON holds text that one writer made with `edge.bundle.canonical.canonical_json` or pydantic.
A column that is null was not measured or not said; no number stands for "unknown".

The schema changes by a migration in `migrations/versions`; a test compares both kinds of database with this file.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts up only a column that is exactly INTEGER.
_RowId = BigInteger().with_variant(Integer, "sqlite")

devices = Table(
    "devices",
    metadata,
    Column("device", Text, primary_key=True),
    Column("public_key", LargeBinary, nullable=False),  # 32 bytes, Ed25519
    Column("key_fingerprint", Text, nullable=False),
    Column("certificate_serial", Text),
    Column("profile", Text),
    Column("target", Text),
    Column("ring", Text),
    Column("enrolled_at", Text, nullable=False),
    Column("revoked_at", Text),
    Column("last_seen_at", Text),  # by the collector's clock; written at most every few seconds
    Column("online", Boolean),
    Column("reported", Text),  # JSON of the newest ReportedState
    Column("reported_version", BigInteger, nullable=False, server_default="0"),
    Column("last_command", Text),  # JSON: op, id, status, reason of the newest command seen
    Column("noisy_at", Text),  # last time it sent more than its budget
    Column("clock_wrong_at", Text),  # last time its clock was off by more than a day
    Index(None, "ring"),
    Index(None, "profile"),
)

# Every message that was accepted, as the device signed it. The primary key is what makes nothing double.
messages = Table(
    "messages",
    metadata,
    Column("device", Text, primary_key=True),
    Column("epoch", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("event_time", Text),  # null where the device's clock is not believed
    Column("data", LargeBinary, nullable=False),
    Column("data_sha256", Text, nullable=False),
    Index(None, "type", "received_at"),
)

results = Table(
    "results",
    metadata,
    Column("device", Text, primary_key=True),
    Column("epoch", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("received_at", Text, nullable=False),
    Column("measured_at", Text),
    Column("bundle_digest", Text, nullable=False),
    Column("behaviour_digest", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("device_class", Text, nullable=False),
    Column("release", Text),
    Column("passed", Boolean, nullable=False),
    Column("golden_passed", Boolean),
    Column("emulated", Boolean, nullable=False),
    Column("ttft_ms", Float),
    Column("ttft_prompt_tokens", BigInteger),
    Column("decode_tokens_per_s", Float),
    Column("decode_context_tokens", BigInteger),
    Column("tpot_p95_ms", Float),
    Column("floor_ratio", Float),
    Column("floor_tokens_per_s", Float),
    Column("temperature_highest_celsius", Float),
    Column("energy_j_per_token", Float),
    Column("peak_rss_bytes", BigInteger),
    Column("checks", Text, nullable=False),  # JSON list of the verdicts against budgets
    Index(None, "bundle_digest", "device", "received_at"),
    Index(None, "device", "received_at"),
    Index(None, "received_at"),
)

installs = Table(
    "installs",
    metadata,
    Column("device", Text, primary_key=True),
    Column("epoch", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("received_at", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("from_digest", Text),
    Column("to_digest", Text),
    Column("release", Text),
    Column("rollout", Text),
    Column("moved_bytes", BigInteger, nullable=False),
    Column("kept_bytes", BigInteger, nullable=False),
    Column("duration_s", Float, nullable=False),
    Index(None, "to_digest", "device"),
    Index(None, "received_at"),
    Index(None, "device", "received_at"),
    Index(None, "rollout"),
)

# The newest of each device; older telemetry is nobody's evidence.
telemetry = Table(
    "telemetry",
    metadata,
    Column("device", Text, primary_key=True),
    Column("epoch", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("data", Text, nullable=False),  # JSON
)

# What was not believed, kept as bytes with its reason. device: as the topic names it, which the broker checked.
quarantine = Table(
    "quarantine",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("device", Text, nullable=False),
    Column("epoch", Text),
    Column("seq", BigInteger),
    Column("type", Text),
    Column("received_at", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),  # cut at 64 KiB
    Column("data_sha256", Text, nullable=False),  # of all of it
    Column("event_time", Text),
    Column("signature", LargeBinary),  # so that a message can be judged again later
    Column("key_fingerprint", Text),
    # Of messages whose id cannot be read the collector looks itself: null is equal to nothing.
    UniqueConstraint("device", "epoch", "seq", "data_sha256", "reason"),
    Index(None, "device", "data_sha256"),
    Index(None, "reason", "received_at"),
    Index(None, "received_at"),
    sqlite_autoincrement=True,
)

releases = Table(
    "releases",
    metadata,
    Column("release", Text, primary_key=True),
    Column("profile", Text, nullable=False),
    Column("bundle_digest", Text, nullable=False),
    Column("behaviour_digest", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("model_bytes", BigInteger),
    Column("added_at", Text, nullable=False),
    Index(None, "bundle_digest"),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("rollout", Text, primary_key=True),
    Column("plan", Text, nullable=False),  # YAML
    Column("release", Text, nullable=False),
    Column("previous_release", Text),
    Column("phase", Text, nullable=False),
    Column("state", Text, nullable=False),  # JSON
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Index(None, "phase"),
)

rollout_devices = Table(
    "rollout_devices",
    metadata,
    Column("rollout", Text, ForeignKey("rollouts.rollout", ondelete="CASCADE"), primary_key=True),
    Column("device", Text, primary_key=True),
    Column("ring", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Index(None, "device"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("rollout", Text, ForeignKey("rollouts.rollout", ondelete="CASCADE"), nullable=False),
    Column("at", Text, nullable=False),
    Column("ring", Text),
    Column("decision", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON
    Index(None, "rollout", "id"),
    sqlite_autoincrement=True,
)

desired = Table(
    "desired",
    metadata,
    Column("device", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("release", Text),
    Column("profile", Text, nullable=False),
    Column("bundle_digest", Text),
    Column("rollout", Text),
    Column("published_version", BigInteger, nullable=False, server_default="0"),
    Index(None, "version", "published_version"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
)
