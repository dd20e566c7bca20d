//! Promises of the ledger on a real file system that has no room.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

#[path = "support/kept_ledger.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared with other tests, which use other parts of it"
)]
mod kept_ledger;
mod support;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use kept_ledger::{caller, entry};
use opdbus::deployment::Deployment;
use opdbus::ledger::{Filter, Ledger, LedgerError};
use support::Need;
use support::btrfs::Btrfs;

/// Numbers that are the same in every run (Marsaglia's xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// What a disk that is full is like while others go on: something is given back, and at once taken by somebody else.
fn others_go_on(directory: &Path, numbers: &mut Numbers, taken: &mut Vec<u64>, next: &mut u64) {
    for _ in 0..numbers.below(4) {
        if !taken.is_empty() {
            let _ = std::fs::remove_file(
                directory.join(taken.swap_remove(numbers.below(taken.len())).to_string()),
            );
        }
    }
    for _ in 0..numbers.below(6) {
        let size = [4 << 10, 64 << 10, 1 << 20, 4 << 20][numbers.below(4)];
        *next += 1;
        if let Ok(mut file) = std::fs::File::create(directory.join(next.to_string())) {
            taken.push(*next);
            let _ = file.write(&vec![0x5a; size]);
        }
    }
}

/// Where nothing looks whether there is room, this test is killed by SIGBUS within seconds: the index of the log is mapped.
#[test]
fn a_full_disk_is_an_error_and_never_the_end_of_the_process() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let others = fs.path().join("others");
    std::fs::create_dir(&others).unwrap();
    let path = fs.path().join("ledger.db");
    Ledger::init(&path, &caller(), Deployment::Traditional).unwrap();
    let ledger = Ledger::open(&path).unwrap();

    let index = std::fs::File::open(fs.path().join("ledger.db-shm")).unwrap();

    let (mut numbers, mut taken, mut next) = (Numbers(0x6f70_6462), Vec::new(), 0);
    let (mut acknowledged, mut refused) = (Vec::new(), 0_u32);
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end || refused == 0 || acknowledged.is_empty() {
        others_go_on(&others, &mut numbers, &mut taken, &mut next);
        // Pages that are on the disk are protected anew: the next write into each asks for space.
        let _ = index.sync_all();
        let answer = Ledger::open(&path).and_then(|fresh| {
            fresh.entries(&Filter { limit: Some(1), ..Filter::default() })?;
            fresh.append(&entry("container.create"))
        });
        match answer {
            Ok(entry) => acknowledged.push(entry.id),
            Err(LedgerError::Full { .. }) => refused += 1,
            // What SQLite was refused by a write.
            Err(LedgerError::Sql { source, .. }) => {
                assert!(
                    matches!(source.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull)),
                    "{source}"
                );
                refused += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
        let _ = Ledger::read(&path, |ledger| ledger.entries(&Filter { limit: Some(1), ..Filter::default() }));
        assert!(Instant::now() < end + Duration::from_secs(60), "the disk was never full, or never had room");
    }
    std::fs::remove_dir_all(&others).unwrap();
    rustix::fs::sync();
    let there: Vec<i64> =
        ledger.entries(&Filter::default()).unwrap().into_iter().map(|entry| entry.id).collect();
    assert!(acknowledged.iter().all(|id| there.contains(id)), "an entry was acknowledged and is not there");
    let verification = ledger.verify().unwrap();
    assert!(verification.whole, "{verification:?}");
    assert!(ledger.append(&entry("container.create")).is_ok());
    println!("{} entries acknowledged, {refused} refused", acknowledged.len());
}
