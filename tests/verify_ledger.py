#!/usr/bin/env python3
"""Verifies a ledger, as docs/ledger-format.md describes it, with nothing but Python's own library.

usage: verify_ledger.py FILE [--key KEY --against CHECKPOINTS]...
  CHECKPOINTS is a file of them, or the directory that they are kept in together with their tiles; KEY is the public key.
  Exit status 0: whole, 1: not (the first bad entry is named), 2: a checkpoint or the key is no good
"""
import argparse, base64, glob, hashlib, json, os, re, sqlite3, struct, sys
from urllib.parse import quote

SCHEMA = "1f0d3fdd6a9d80747b1cd99b61e05fba5d61f3c7932e78b550efca19f5d29df3"
GENESIS = ("genesis", "system", None, "0" * 64, '{"version": "1.0", "deployment": "operation-dbus"}')
HASH = re.compile("[0-9a-f]{64}")


class Bad(Exception):
    """What was found."""


class NoEvidence(Exception):
    """A checkpoint or a key that proves nothing."""


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


# Ed25519, RFC 8032, section 5.1: points as (x, y), slowly.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)


def with_x(y, odd):
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * I % P
    if (x * x - square) % P or (x == 0 and odd):
        raise NoEvidence("not a point of the curve")
    return (P - x if x % 2 != odd else x), y


def point(data):
    number = int.from_bytes(data, "little")
    y = number % 2**255
    if y >= P:
        raise NoEvidence("not a point of the curve")
    return with_x(y, number >> 255)


def add(a, b):
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, P - 2, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, P - 2, P)
    return x % P, y % P


def times(number, a):
    sum = (0, 1)
    while number:
        if number & 1:
            sum = add(sum, a)
        a, number = add(a, a), number >> 1
    return sum


BASE = with_x(4 * pow(5, P - 2, P) % P, 0)


def signed(key, text, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    k = int.from_bytes(hashlib.sha512(r + key + text).digest(), "little") % L
    return s < L and times(s, BASE) == add(point(r), times(k, point(key)))


def checkpoints(text, key):
    """The checkpoints of a text, each as (size, root, origin); all must be signed by the key NAME+ID+KEY."""
    name, number, encoded = key.strip().split("+", 2)
    public = base64.b64decode(encoded, validate=True)
    mine = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    if public[:1] != b"\1" or len(public) != 33 or mine.hex() != number:
        raise NoEvidence("the key is not whole")
    found = []
    for note in re.findall(r"[^\n]+\n\d+\n[^\n]+\n(?:[^\n]+\n)*\n(?:\u2014 [^\n]+\n)+", text):
        body, signatures = note.split("\n\n", 1)
        body += "\n"
        ours = [l.split(" ")[2] for l in signatures.splitlines() if l.split(" ")[1] == name]
        ours = [s for s in map(base64.b64decode, ours) if s[:4] == mine]
        if not ours or not all(signed(public[1:], body.encode(), s[4:]) for s in ours):
            raise NoEvidence("a checkpoint is not signed by the key")
        origin, size, root = body.split("\n")[:3]
        if origin != name:
            raise NoEvidence("a checkpoint is not of the key's ledger")
        found.append((int(size), base64.b64decode(root), origin))
    if not found:
        raise NoEvidence("no checkpoint")
    return found


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root(leaves):
    """The root of the tree over leaf hashes: RFC 6962, section 2.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    level = leaves
    while len(level) > 1:
        above = [node(*level[i : i + 2]) for i in range(0, len(level) - 1, 2)]
        level = above + level[len(level) & ~1 :]
    return level[0]


def kept_leaves(directory):
    """The leaf hashes of the tiles of level 0 (C2SP tlog-tiles)."""
    leaves = b""
    for index in range(10**9):
        name, rest = "%03d" % (index % 1000), index // 1000
        while rest:
            name, rest = "x%03d/%s" % (rest % 1000, name), rest // 1000
        path = os.path.join(directory, "tile/0", name)
        if not os.path.exists(path):
            grown = sorted((int(os.path.basename(p)), p) for p in glob.glob(glob.escape(path) + ".p/*"))
            if grown:
                leaves += open(grown[-1][1], "rb").read()
            break
        leaves += open(path, "rb").read()
    return [leaves[i : i + 32] for i in range(0, len(leaves), 32)]


def hold_against(leaves, origin, known, kept):
    """Raises Bad where the ledger is not what the checkpoints say it was."""
    proven, differs, there = 0, None, len(leaves)
    first = next((i for i, (a, b) in enumerate(zip(leaves, kept)) if a != b), None)
    leads = lambda c: len(kept) >= c[0] and root(kept[: c[0]]) == c[1]
    for c in sorted(known):
        if c[0] <= there:
            if root(leaves[: c[0]]) == c[1] and c[2] == origin:
                proven = c[0]
            elif differs is None:
                exact = leads(c) and first is not None and first < c[0]
                differs = first if exact else (proven if proven < c[0] else 0)
    longer = [c for c in sorted(known) if c[0] > there]
    if differs is None and longer and first is not None and leads(longer[0]):
        differs = first
    need(differs is None, f"entry {differs}: rewritten, or from one of the next on")
    need(not longer, f"entry {there}: truncated, there were more")


def verify(db, known=(), kept=()):
    """Gives the number of entries and the last hash, or raises Bad."""
    expected, previous, began, leaves, origin = 0, None, None, [], None
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
            origin = f"operation-dbus/ledger/{metadata.get('ledger_id')}"
        if known:
            leaves.append(hashlib.sha256(b"\0" + bytes.fromhex(row[5])).digest())
        expected, previous = expected + 1, row[5]
    need(expected > 1, f"entry {expected}: is missing")
    if known:
        hold_against(leaves, origin, known, kept)
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


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("file")
    parser.add_argument("--against", action="append", default=[])
    parser.add_argument("--key")
    given = parser.parse_args()
    path, known, kept = given.file, [], []
    # Without a -wal nothing is in it, and the file is read without making anything beside it.
    mode = "mode=ro" if os.path.exists(path + "-wal") else "immutable=1"
    try:
        for against in given.against:
            files = [against]
            if os.path.isdir(against):
                kept = kept or kept_leaves(against)
                files = glob.glob(os.path.join(glob.escape(against), "checkpoint*"))
            for file in files:
                with open(file, encoding="utf-8") as note:
                    known += checkpoints(note.read(), given.key)
        db = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?{mode}", uri=True)
        # What is not UTF-8 is kept recognisable; hashing it fails.
        db.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        db.execute("BEGIN")
        print("whole: %d entries, %s" % verify(db, known, kept))
        return 0
    except NoEvidence as why:
        print(f"no evidence: {why}")
        return 2
    except (Bad, ValueError, sqlite3.Error) as error:
        print(f"bad: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
