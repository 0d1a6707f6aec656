"""The store of patients' data: encrypted at rest, opened by a PIN, kill -9 safe. docs/vault.md says against whom.

protocol: what the app sees. sqlcipher, rows: the two stores behind it. keys, pins, backoff, disk, audit, backup,
migrations: one job each.
"""
