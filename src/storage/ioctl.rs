//! The kernel's btrfs calls, and the only unsafe code of the project. Layouts and numbers are those
//! of `linux/btrfs.h`; sizes are checked when compiled. Everything here takes an open directory and
//! a name in it, so that no path is resolved twice.

#![allow(unsafe_code, reason = "ioctl has no safe form; each call says why it is sound")]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::io::Errno;
use rustix::ioctl::{Getter, NoArg, Opcode, Setter, Updater, ioctl, opcode};

/// `BTRFS_IOCTL_MAGIC`.
const MAGIC: u8 = 0x94;
/// `BTRFS_SUBVOL_RDONLY`.
const READ_ONLY: u64 = 1 << 1;

/// `BTRFS_IOC_SYNC`.
const SYNC: Opcode = opcode::none(MAGIC, 8);
/// `BTRFS_IOC_SNAP_CREATE_V2`.
const SNAP_CREATE: Opcode = opcode::write::<VolArgs>(MAGIC, 23);
/// `BTRFS_IOC_SUBVOL_CREATE_V2`.
const SUBVOL_CREATE: Opcode = opcode::write::<VolArgs>(MAGIC, 24);
/// `BTRFS_IOC_SUBVOL_GETFLAGS`.
const GET_FLAGS: Opcode = opcode::read::<u64>(MAGIC, 25);
/// `BTRFS_IOC_SUBVOL_SETFLAGS`.
const SET_FLAGS: Opcode = opcode::write::<u64>(MAGIC, 26);
/// `BTRFS_IOC_GET_SUBVOL_INFO` (Linux 4.18).
const GET_INFO: Opcode = opcode::read::<InfoArgs>(MAGIC, 60);
/// `BTRFS_IOC_GET_SUBVOL_ROOTREF` (Linux 4.18).
const ROOT_REFS: Opcode = opcode::read_write::<RootRefArgs>(MAGIC, 61);
/// `BTRFS_IOC_INO_LOOKUP_USER` (Linux 4.18).
const LOOKUP: Opcode = opcode::read_write::<LookupArgs>(MAGIC, 62);
/// `BTRFS_IOC_SNAP_DESTROY_V2` (Linux 5.7).
const SNAP_DESTROY: Opcode = opcode::write::<VolArgs>(MAGIC, 63);

/// `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct VolArgs {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `struct btrfs_ioctl_get_subvol_rootref_args`.
#[repr(C)]
struct RootRefArgs {
    min_treeid: u64,
    rootref: [RootRef; 255],
    num_items: u8,
    align: [u8; 7],
}

/// Where a subvolume hangs: its tree, and the directory of the parent's tree that has its name.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct RootRef {
    treeid: u64,
    dirid: u64,
}

/// `struct btrfs_ioctl_ino_lookup_user_args`.
#[repr(C)]
struct LookupArgs {
    dirid: u64,
    treeid: u64,
    name: [u8; 256],
    path: [u8; 3824],
}

/// `struct btrfs_ioctl_timespec`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Time {
    seconds: u64,
    nanoseconds: u32,
}

/// `struct btrfs_ioctl_get_subvol_info_args`.
#[repr(C)]
pub(super) struct InfoArgs {
    pub(super) treeid: u64,
    name: [u8; 256],
    parent_id: u64,
    dirid: u64,
    generation: u64,
    flags: u64,
    pub(super) uuid: [u8; 16],
    pub(super) parent_uuid: [u8; 16],
    pub(super) received_uuid: [u8; 16],
    pub(super) ctransid: u64,
    transids: [u64; 3],
    times: [Time; 4],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<InfoArgs>() == 504);
const _: () = assert!(size_of::<VolArgs>() == 4096);
const _: () = assert!(size_of::<RootRefArgs>() == 4096);
const _: () = assert!(size_of::<LookupArgs>() == 4096);

fn vol_args(name: &OsStr) -> io::Result<VolArgs> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > 255 || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(Errno::INVAL.into());
    }
    let mut args = VolArgs { fd: 0, transid: 0, flags: 0, unused: [0; 4], name: [0; 4040] };
    args.name[..bytes.len()].copy_from_slice(bytes);
    Ok(args)
}

/// Makes an empty subvolume `name` in `directory`.
pub(super) fn create(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let args = vol_args(name)?;
    // SAFETY: the opcode takes a `btrfs_ioctl_vol_args_v2`, which `VolArgs` is; it is only read, and
    // its name ends in a zero byte within the array.
    unsafe { ioctl(directory, Setter::<SUBVOL_CREATE, _>::new(args))? };
    Ok(())
}

/// Makes a snapshot of the subvolume open at `source` as `name` in `directory`.
pub(super) fn snapshot(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    source: BorrowedFd<'_>,
    read_only: bool,
) -> io::Result<()> {
    let mut args = vol_args(name)?;
    args.fd = source.as_fd().as_raw_fd().into();
    args.flags = if read_only { READ_ONLY } else { 0 };
    // SAFETY: as for `create`; the file descriptor inside is borrowed and thus open for the call.
    unsafe { ioctl(directory, Setter::<SNAP_CREATE, _>::new(args))? };
    Ok(())
}

/// Removes the subvolume `name` in `directory`. One that holds other subvolumes is refused by the kernel.
pub(super) fn destroy(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let args = vol_args(name)?;
    // SAFETY: as for `create`.
    unsafe { ioctl(directory, Setter::<SNAP_DESTROY, _>::new(args))? };
    Ok(())
}

/// Whether the subvolume is read-only.
pub(super) fn is_read_only(subvolume: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: the opcode writes one u64.
    let flags = unsafe { ioctl(subvolume, Getter::<GET_FLAGS, u64>::new())? };
    Ok(flags & READ_ONLY != 0)
}

/// Makes the subvolume read-only, or writable.
pub(super) fn set_read_only(subvolume: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    // SAFETY: the opcode writes one u64.
    let flags = unsafe { ioctl(subvolume, Getter::<GET_FLAGS, u64>::new())? };
    let flags = if read_only { flags | READ_ONLY } else { flags & !READ_ONLY };
    // SAFETY: the opcode reads one u64.
    unsafe { ioctl(subvolume, Setter::<SET_FLAGS, u64>::new(flags))? };
    Ok(())
}

/// What the kernel knows of the subvolume.
pub(super) fn info(subvolume: BorrowedFd<'_>) -> io::Result<InfoArgs> {
    // SAFETY: the opcode writes a `btrfs_ioctl_get_subvol_info_args`, which `InfoArgs` is; every bit
    // pattern is a valid one.
    Ok(unsafe { ioctl(subvolume, Getter::<GET_INFO, InfoArgs>::new())? })
}

/// Commits the file system.
pub(super) fn sync(directory: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the opcode takes no argument.
    unsafe { ioctl(directory, NoArg::<SYNC>::new())? };
    Ok(())
}

/// The subvolumes right inside the one open at `subvolume`, the first 255 of them.
pub(super) fn children(subvolume: BorrowedFd<'_>) -> io::Result<Vec<RootRef>> {
    let mut args = Box::new(RootRefArgs {
        min_treeid: 0,
        rootref: [RootRef { treeid: 0, dirid: 0 }; 255],
        num_items: 0,
        align: [0; 7],
    });
    // SAFETY: the opcode reads and writes a `btrfs_ioctl_get_subvol_rootref_args`, which
    // `RootRefArgs` is; every bit pattern is a valid one.
    match unsafe { ioctl(subvolume, Updater::<'_, ROOT_REFS, _>::new(&mut *args)) } {
        // EOVERFLOW: there are more than fit, and the array is full.
        Ok(()) | Err(Errno::OVERFLOW) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(args.rootref.iter().take(args.num_items.into()).copied().collect())
}

/// Where a child hangs in the subvolume open at `subvolume`: the directory, relative to the
/// subvolume and empty for its top, and the name in it.
pub(super) fn locate(
    subvolume: BorrowedFd<'_>,
    child: RootRef,
) -> io::Result<(std::path::PathBuf, std::ffi::OsString)> {
    let mut args =
        Box::new(LookupArgs { dirid: child.dirid, treeid: child.treeid, name: [0; 256], path: [0; 3824] });
    // SAFETY: the opcode reads and writes a `btrfs_ioctl_ino_lookup_user_args`, which `LookupArgs`
    // is; every bit pattern is a valid one.
    unsafe { ioctl(subvolume, Updater::<'_, LOOKUP, _>::new(&mut *args))? };
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        std::ffi::OsString::from_vec(bytes[..end].to_vec())
    };
    Ok((text(&args.path).into(), text(&args.name)))
}
