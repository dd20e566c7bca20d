//! Promises of the storage, plugins and sockets rooms, on a real btrfs.

mod support;

use std::path::Path;

use opdbus::storage::{SubvolumeError, subvolume};
use support::Need;
use support::btrfs::Btrfs;

#[test]
fn a_subvolume_is_made_marked_compressed_and_deleted() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let path = fs.path().join("one");
    subvolume::create(&path).unwrap();
    assert!(subvolume::is_subvolume(&path).unwrap());
    assert_eq!(subvolume::marker(&path).unwrap(), None);
    subvolume::mark(&path, "storage").unwrap();
    assert_eq!(subvolume::marker(&path).unwrap().as_deref(), Some("storage"));
    assert_eq!(subvolume::compression(&path).unwrap(), None);
    subvolume::set_compression(&path, "zstd").unwrap();
    assert_eq!(subvolume::compression(&path).unwrap().as_deref(), Some("zstd"));
    subvolume::sync(&path).unwrap();
    subvolume::delete(&path).unwrap();
    assert!(!path.exists());
}

#[test]
fn an_existing_target_is_refused_and_never_nested_into() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let (source, there) = (fs.path().join("source"), fs.path().join("there"));
    subvolume::create(&source).unwrap();
    std::fs::create_dir(&there).unwrap();
    for error in [
        subvolume::create(&there).unwrap_err(),
        subvolume::snapshot(&source, &there, false).unwrap_err(),
        subvolume::snapshot(&source, &source, false).unwrap_err(),
    ] {
        assert!(matches!(&error, SubvolumeError::Exists { .. }), "{error:?}");
    }
    assert_eq!(std::fs::read_dir(&there).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(&source).unwrap().count(), 0);
}

#[test]
fn subvolumes_inside_a_subvolume_go_with_it_read_only_ones_too() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let top = fs.path().join("top");
    subvolume::create(&top).unwrap();
    std::fs::create_dir_all(top.join("var/lib")).unwrap();
    subvolume::create(&top.join("right-inside")).unwrap();
    let machines = top.join("var/lib/machines");
    subvolume::create(&machines).unwrap();
    subvolume::create(&machines.join("deeper")).unwrap();
    std::fs::create_dir_all(machines.join("deeper/a/b")).unwrap();
    subvolume::create(&machines.join("deeper/a/b/deepest")).unwrap();
    std::fs::write(machines.join("deeper/a/b/deepest/file"), "x").unwrap();
    for path in [&top, &machines, &machines.join("deeper"), &machines.join("deeper/a/b/deepest")] {
        subvolume::set_read_only(path, true).unwrap();
        assert!(subvolume::is_read_only(path).unwrap());
    }
    for n in 0..300 {
        // More than one answer of the kernel holds (255).
        subvolume::create(&top.join("right-inside").join(format!("s{n}"))).unwrap();
    }
    subvolume::delete(&top).unwrap();
    assert!(!top.exists());
    assert_eq!(std::fs::read_dir(fs.path()).unwrap().count(), 0);
}

#[test]
fn a_snapshot_is_a_writable_or_read_only_copy_with_the_marker() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let (source, copy, frozen) = (fs.path().join("source"), fs.path().join("copy"), fs.path().join("frozen"));
    subvolume::create(&source).unwrap();
    subvolume::mark(&source, "templates").unwrap();
    std::fs::write(source.join("f"), "1").unwrap();
    subvolume::snapshot(&source, &copy, false).unwrap();
    subvolume::snapshot(&source, &frozen, true).unwrap();
    std::fs::write(copy.join("f"), "2").unwrap();
    assert_eq!(std::fs::read(source.join("f")).unwrap(), b"1");
    assert_eq!(subvolume::marker(&copy).unwrap().as_deref(), Some("templates"));
    assert!(std::fs::write(frozen.join("f"), "3").is_err());
    assert!(subvolume::is_read_only(&frozen).unwrap() && !subvolume::is_read_only(&copy).unwrap());
}

#[test]
fn what_is_not_a_subvolume_is_neither_called_one_nor_deleted_nor_cloned() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    let (plain, link, real) = (fs.path().join("plain"), fs.path().join("link"), fs.path().join("real"));
    std::fs::create_dir(&plain).unwrap();
    subvolume::create(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    for path in [&plain, &link, &fs.path().join("missing"), Path::new("/"), Path::new("/proc/self")] {
        assert!(!subvolume::is_subvolume(path).unwrap(), "{}", path.display());
    }
    for path in [&plain, &link] {
        let error = subvolume::delete(path).unwrap_err();
        assert!(matches!(&error, SubvolumeError::NotASubvolume { .. }), "{error:?}");
        assert!(subvolume::snapshot(path, &fs.path().join("new"), false).is_err());
    }
    assert!(plain.exists() && real.exists());
}

#[test]
fn the_file_system_is_that_of_the_nearest_directory_that_exists() {
    host_test!(Need::Root, Need::Btrfs);
    let fs = Btrfs::new(256);
    assert!(subvolume::is_btrfs(&fs.path().join("not/yet")).unwrap());
    assert!(!subvolume::is_btrfs(Path::new("/proc/none/yet")).unwrap());
    let error = subvolume::create(Path::new("/dev/shm/opdbus-not-btrfs")).unwrap_err();
    assert!(matches!(&error, SubvolumeError::NotBtrfs { .. }), "{error:?}");
}
