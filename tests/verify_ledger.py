#!/usr/bin/env python3
"""Verifies a ledger, as docs/ledger-format.md describes it, with nothing but Python's own library.

usage: verify_ledger.py FILE        exit status 0: whole, 1: not (the first bad entry is named)
"""
import hashlib, json, os, re, sqlite3, struct, sys
from urllib.parse import quote

SCHEMA = "1f0d3fdd6a9d80747b1cd99b61e05fba5d61f3c7932e78b550efca19f5d29df3"
GENESIS = ("genesis", "system", None, "0" * 64, '{"version": "1.0", "deployment": "operation-dbus"}')
HASH = re.compile("[0-9a-f]{64}")


class Bad(Exception):
    """What was found."""


def need(true, what):
    if not true:
        raise Bad(what)


def refuse(number):
    raise ValueError(f"the number {number} is not an integer")


def canonical(value, depth=1):
    """RFC 8785, of what metadata may hold."""
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        need(abs(value) < 2**53, f"metadata: {value} is too large")
        return str(value)
    need(depth <= 64, "metadata: nested too deep")
    if isinstance(value, list):
        return "[" + ",".join(canonical(v, depth + 1) for v in value) + "]"
    members = sorted(value.items(), key=lambda m: m[0].encode("utf-16-be"))
    return "{" + ",".join(canonical(k) + ":" + canonical(v, depth + 1) for k, v in members) + "}"


def digest(*fields):
    """SHA-256 over the fields, each after its length in eight bytes, the most significant first."""
    data = [str(field).encode("utf-8") for field in fields]
    return hashlib.sha256(b"".join(struct.pack(">Q", len(d)) + d for d in data)).hexdigest()


def check(row, previous):
    """Checks an entry against the hash of the one before, and gives its metadata."""
    id, timestamp, operation, target, previous_hash, current_hash, embedding, metadata = row
    need(type(timestamp) is int, "timestamp is not an integer")
    need(embedding is None, "embedding is not NULL")
    texts = [operation, target, current_hash, metadata] + [previous_hash] * (id > 0)
    need(all(type(t) is str for t in texts), "a column is not text")
    if id == 0:
        need((operation, target, previous_hash, current_hash, metadata) == GENESIS, "not the genesis entry")
        return None
    need(previous_hash == previous, "does not link to the entry before")
    value = json.loads(metadata, parse_float=refuse, parse_constant=refuse)
    need(type(value) is dict and canonical(value) == metadata, "metadata is not canonical")
    need(HASH.fullmatch(current_hash), "current_hash is not a hash")
    mine = digest("opdbus-ledger-v1", id, timestamp, operation, target, metadata, previous_hash)
    need(mine == current_hash, f"the content hashes to {mine}")
    return value


def verify(db):
    """Gives the number of entries and the last hash, or raises Bad."""
    expected, previous, began = 0, None, None
    columns = "id, timestamp, operation, target, previous_hash, current_hash, embedding, metadata"
    rows = db.execute(f"SELECT {columns} FROM operations ORDER BY id")
    while True:
        number = expected
        try:
            row = next(rows, None)
            if row is None:
                break
            number = min(row[0], expected)
            need(row[0] == expected, "is missing" if row[0] > expected else "should not be there")
            metadata = check(row, previous)
        except (Bad, ValueError, RecursionError, sqlite3.Error) as error:
            raise Bad(f"entry {number}: {error}") from None
        if expected == 0:
            began = row[1]
        if expected == 1:
            need(row[2] == "ledger.init" and type(metadata.get("genesis")) is str, "entry 1: not ledger.init")
            mine = digest("opdbus-ledger-genesis-v1", 0, began, *GENESIS[:2], GENESIS[4], "")
            need(metadata["genesis"] == mine, "entry 0: timestamp is not the one that entry 1 covers")
        expected, previous = expected + 1, row[5]
    need(expected > 1, f"entry {expected}: is missing")
    heads = db.execute("SELECT last_id, last_hash FROM head").fetchall()
    need(len(heads) == 1 and type(heads[0][0]) is int and type(heads[0][1]) is str, "head altered")
    last_id, last_hash = heads[0]
    need(last_id < expected, f"entry {expected}: truncated, the head says {last_id + 1} entries")
    need(last_id == expected - 1, f"entry {max(last_id + 1, 0)}: past the head")
    need(last_hash == previous, f"entry {last_id}: the head has another hash for it")
    objects = "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    text = "".join(f"{t}\0" for o in sorted(db.execute(objects), key=lambda o: o[1]) for t in o)
    need(hashlib.sha256(text.encode()).hexdigest() == SCHEMA, "schema altered")
    for pragma, value in ("application_id", 0x6F706462), ("user_version", 1):
        need(db.execute(f"PRAGMA {pragma}").fetchone()[0] == value, f"schema altered: {pragma}")
    answer = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    need(answer == "ok", f"file damaged: {answer}")
    return expected, previous


def main(path):
    # Without a -wal nothing is in it, and the file is read without making anything beside it.
    mode = "mode=ro" if os.path.exists(path + "-wal") else "immutable=1"
    try:
        db = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?{mode}", uri=True)
        # What is not UTF-8 is kept recognisable; hashing it fails.
        db.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        db.execute("BEGIN")
        print("whole: %d entries, %s" % verify(db))
        return 0
    except (Bad, ValueError, sqlite3.Error) as error:
        print(f"bad: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
