//! The database: the requirements' table, and what makes it append-only.

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// `application_id`: "opdb". It tells the ledger from any other SQLite database.
pub const APPLICATION_ID: i64 = 0x6f70_6462;
/// `user_version`: the version of the format.
pub const VERSION: i64 = 1;

/// One object of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    /// `table`, `index` or `trigger`.
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The text that makes it, which is also the text that `sqlite_schema` holds.
    pub sql: &'static str,
}

/// The names of the columns of `operations`, in order.
pub const COLUMNS: [&str; 8] =
    ["id", "timestamp", "operation", "target", "previous_hash", "current_hash", "embedding", "metadata"];

/// The whole schema, in the order in which it is made.
pub const OBJECTS: [Object; 12] = [
    Object {
        kind: "table",
        name: "operations",
        sql: "CREATE TABLE operations (
    id INTEGER PRIMARY KEY,
    timestamp INTEGER NOT NULL,
    operation TEXT NOT NULL,
    target TEXT NOT NULL,
    previous_hash TEXT,
    current_hash TEXT NOT NULL,
    embedding BLOB,
    metadata JSON
)",
    },
    Object {
        kind: "index",
        name: "idx_timestamp",
        sql: "CREATE INDEX idx_timestamp ON operations(timestamp)",
    },
    Object {
        kind: "index",
        name: "idx_operation",
        sql: "CREATE INDEX idx_operation ON operations(operation)",
    },
    Object { kind: "index", name: "idx_target", sql: "CREATE INDEX idx_target ON operations(target)" },
    // Where the chain ends: without it, a ledger whose last entries were deleted would look whole.
    Object {
        kind: "table",
        name: "head",
        sql: "CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last_id INTEGER NOT NULL,
    last_hash TEXT NOT NULL
)",
    },
    // A comparison with NULL is NULL, and a trigger's WHEN takes that for false: hence IS NOT TRUE.
    Object {
        kind: "trigger",
        name: "operations_append",
        sql: "CREATE TRIGGER operations_append BEFORE INSERT ON operations
WHEN (
    typeof(NEW.timestamp) = 'integer'
    AND typeof(NEW.operation) = 'text'
    AND typeof(NEW.target) = 'text'
    AND typeof(NEW.metadata) = 'text'
    AND NEW.embedding IS NULL
    AND typeof(NEW.current_hash) = 'text'
    AND length(NEW.current_hash) = 64
    AND NEW.current_hash NOT GLOB '*[^0-9a-f]*'
    AND CASE WHEN NEW.id = 0
        THEN NEW.previous_hash IS NULL
            AND NOT EXISTS (SELECT 1 FROM operations)
            AND NOT EXISTS (SELECT 1 FROM head)
        ELSE NEW.id = (SELECT max(id) + 1 FROM operations)
            AND NEW.id = (SELECT last_id + 1 FROM head)
            AND NEW.previous_hash = (SELECT current_hash FROM operations WHERE id = NEW.id - 1)
            AND NEW.previous_hash = (SELECT last_hash FROM head)
        END
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'the ledger takes only a next entry that links to the last one');
END",
    },
    Object {
        kind: "trigger",
        name: "operations_head",
        sql: "CREATE TRIGGER operations_head AFTER INSERT ON operations
BEGIN
    INSERT INTO head (one, last_id, last_hash) SELECT 1, 0, NEW.current_hash WHERE NEW.id = 0;
    UPDATE head SET last_id = NEW.id, last_hash = NEW.current_hash WHERE NEW.id > 0;
END",
    },
    Object {
        kind: "trigger",
        name: "operations_no_update",
        sql: "CREATE TRIGGER operations_no_update BEFORE UPDATE ON operations
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: an entry is never changed');
END",
    },
    Object {
        kind: "trigger",
        name: "operations_no_delete",
        sql: "CREATE TRIGGER operations_no_delete BEFORE DELETE ON operations
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: an entry is never deleted');
END",
    },
    Object {
        kind: "trigger",
        name: "head_once",
        sql: "CREATE TRIGGER head_once BEFORE INSERT ON head
WHEN (
    NEW.one = 1
    AND NEW.last_id = 0
    AND NOT EXISTS (SELECT 1 FROM head)
    AND (SELECT count(*) FROM operations) = 1
    AND NEW.last_hash = (SELECT current_hash FROM operations WHERE id = 0)
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'the ledger has one head, made with the first entry');
END",
    },
    Object {
        kind: "trigger",
        name: "head_forward",
        sql: "CREATE TRIGGER head_forward BEFORE UPDATE ON head
WHEN (
    NEW.one = 1
    AND NEW.last_id = OLD.last_id + 1
    AND NEW.last_id = (SELECT max(id) FROM operations)
    AND NEW.last_hash = (SELECT current_hash FROM operations WHERE id = NEW.last_id)
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'the head of the ledger moves only with a new entry');
END",
    },
    Object {
        kind: "trigger",
        name: "head_no_delete",
        sql: "CREATE TRIGGER head_no_delete BEFORE DELETE ON head
BEGIN
    SELECT RAISE(ABORT, 'the head of the ledger is never deleted');
END",
    },
];

/// Makes the schema. The caller has begun a transaction.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    for object in OBJECTS {
        connection.execute_batch(object.sql)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// The digest of a schema: SHA-256 over `kind NUL name NUL sql NUL` of each object, ordered by name.
fn digest<'a>(objects: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> String {
    let mut hash = Sha256::new();
    for (kind, name, sql) in objects {
        for text in [kind, name, sql] {
            hash.update(text);
            hash.update([0]);
        }
    }
    hex(&hash.finalize())
}

/// The digest of the schema as it should be, for verifiers that do not want to carry its text.
#[must_use]
pub fn expected_digest() -> String {
    let mut objects = OBJECTS;
    objects.sort_by_key(|o| o.name);
    digest(objects.iter().map(|o| (o.kind, o.name, o.sql)))
}

/// What differs between the schema that is there and the one that should be; `None` where nothing does.
pub(super) fn difference(connection: &Connection) -> rusqlite::Result<Option<String>> {
    for (pragma, expected) in [("application_id", APPLICATION_ID), ("user_version", VERSION)] {
        let found: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
        if found != expected {
            return Ok(Some(format!("{pragma} is {found} instead of {expected}")));
        }
    }
    // SQLite's own tables (statistics) are named sqlite_…, a prefix that it gives to nobody else.
    let mut statement = connection.prepare(
        "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    let found = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<Vec<(String, String, String)>>>()?;
    for object in OBJECTS {
        match found.iter().find(|(_, name, _)| name == object.name) {
            None => return Ok(Some(format!("the {} {} is missing", object.kind, object.name))),
            Some((kind, _, sql)) if kind != object.kind || sql != object.sql => {
                return Ok(Some(format!(
                    "the {} {} is not the one the ledger was made with",
                    kind, object.name
                )));
            }
            Some(_) => {}
        }
    }
    Ok(found
        .iter()
        .find(|(_, name, _)| OBJECTS.iter().all(|o| o.name != name))
        .map(|(kind, name, _)| format!("there is a {kind} {name:?} that does not belong to the ledger")))
}

/// Whether the table `operations` is there with the columns it should have, whatever else was done to the schema.
pub(super) fn has_columns(connection: &Connection) -> rusqlite::Result<bool> {
    let mut statement =
        connection.prepare("SELECT name FROM pragma_table_info('operations') ORDER BY cid")?;
    let names = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(names == COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_requirements() {
        let db = Connection::open_in_memory().unwrap();
        create(&db).unwrap();
        let mut statement =
            db.prepare("SELECT name || ' ' || type || iif(\"notnull\", ' NOT NULL', '') || iif(pk, ' PRIMARY KEY', '') FROM pragma_table_info('operations')").unwrap();
        let columns: Vec<String> =
            statement.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            columns,
            [
                "id INTEGER PRIMARY KEY",
                "timestamp INTEGER NOT NULL",
                "operation TEXT NOT NULL",
                "target TEXT NOT NULL",
                "previous_hash TEXT",
                "current_hash TEXT NOT NULL",
                "embedding BLOB",
                "metadata JSON"
            ]
        );
        assert!(has_columns(&db).unwrap());
        assert_eq!(difference(&db).unwrap(), None);
    }

    #[test]
    fn whatever_is_added_removed_or_rewritten_in_the_schema_is_named() {
        for (sql, named) in [
            ("DROP TRIGGER operations_no_update", "operations_no_update is missing"),
            ("DROP INDEX idx_target", "idx_target is missing"),
            ("CREATE TABLE extra (x)", "\"extra\""),
            ("CREATE TRIGGER t AFTER INSERT ON operations BEGIN SELECT 1; END", "trigger \"t\""),
            ("ALTER TABLE operations ADD COLUMN x", "table operations"),
            ("PRAGMA user_version = 2", "user_version is 2"),
            (
                "DROP TRIGGER head_no_delete; CREATE TRIGGER head_no_delete BEFORE DELETE ON head BEGIN SELECT 1; END",
                "trigger head_no_delete is not",
            ),
        ] {
            let db = Connection::open_in_memory().unwrap();
            create(&db).unwrap();
            db.execute_batch(sql).unwrap();
            let found = difference(&db).unwrap().unwrap_or_default();
            assert!(found.contains(named), "{sql}: {found:?}");
        }
    }
}
