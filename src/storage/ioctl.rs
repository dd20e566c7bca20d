//! btrfs' ioctls (linux/btrfs.h), each behind a safe function. The only `unsafe` of the project.

#![allow(unsafe_code, reason = "ioctls have no safe form; each use says why it is sound")]

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::{Errno, Result};
use rustix::ioctl::{Getter, NoArg, Setter, Updater, ioctl, opcode};

/// `BTRFS_IOCTL_MAGIC`
const MAGIC: u8 = 0x94;
/// `BTRFS_SUBVOL_RDONLY`
const READ_ONLY: u64 = 1 << 1;
/// `BTRFS_SUBVOL_NAME_MAX` allows more, but a name is a directory entry, and those end at 255.
const NAME_MAX: usize = 255;
/// The field of `btrfs_ioctl_vol_args_v2` that holds the name.
const VOL_NAME: usize = 4040;
/// `BTRFS_MAX_ROOTREF_BUFFER_NUM`
const ROOTREFS: usize = 255;
/// `BTRFS_INO_LOOKUP_USER_PATH_MAX`
const LOOKUP_PATH: usize = 4080 - 255 - 1;

/// `struct btrfs_ioctl_vol_args_v2`
#[repr(C)]
struct VolArgs {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; VOL_NAME],
}

/// `struct btrfs_ioctl_get_subvol_rootref_args`
#[repr(C)]
struct RootRefs {
    min_treeid: u64,
    refs: [[u64; 2]; ROOTREFS],
    count: u8,
    align: [u8; 7],
}

/// `struct btrfs_ioctl_ino_lookup_user_args`
#[repr(C)]
struct LookupUser {
    dirid: u64,
    treeid: u64,
    name: [u8; 256],
    path: [u8; LOOKUP_PATH],
}

const _: () = assert!(size_of::<VolArgs>() == 4096);
const _: () = assert!(size_of::<RootRefs>() == 4096);
const _: () = assert!(size_of::<LookupUser>() == 4096);

const SYNC: u32 = opcode::none(MAGIC, 8);
const SNAP_CREATE: u32 = opcode::write::<VolArgs>(MAGIC, 23);
const SUBVOL_CREATE: u32 = opcode::write::<VolArgs>(MAGIC, 24);
const GET_FLAGS: u32 = opcode::read::<u64>(MAGIC, 25);
const SET_FLAGS: u32 = opcode::write::<u64>(MAGIC, 26);
const GET_ROOTREF: u32 = opcode::read_write::<RootRefs>(MAGIC, 61);
const LOOKUP_USER: u32 = opcode::read_write::<LookupUser>(MAGIC, 62);
const SNAP_DESTROY: u32 = opcode::write::<VolArgs>(MAGIC, 63);

fn vol_args(fd: i64, flags: u64, name: &[u8]) -> Result<VolArgs> {
    if name.is_empty() || name.len() > NAME_MAX || name.contains(&0) || name.contains(&b'/') {
        return Err(Errno::INVAL);
    }
    let mut args = VolArgs { fd, transid: 0, flags, unused: [0; 4], name: [0; VOL_NAME] };
    args.name[..name.len()].copy_from_slice(name);
    Ok(args)
}

/// `BTRFS_IOC_SUBVOL_CREATE_V2`: a new, empty subvolume `name` in `directory`.
pub(super) fn create(directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let args = vol_args(0, 0, name)?;
    // SAFETY: the opcode reads a `btrfs_ioctl_vol_args_v2`, which `VolArgs` is, and keeps no pointer to it.
    unsafe { ioctl(directory, Setter::<SUBVOL_CREATE, _>::new(args)) }
}

/// `BTRFS_IOC_SNAP_CREATE_V2`: a snapshot of `source` as `name` in `directory`.
pub(super) fn snapshot(
    directory: BorrowedFd<'_>,
    source: BorrowedFd<'_>,
    name: &[u8],
    read_only: bool,
) -> Result<()> {
    let source = i64::from(std::os::fd::AsRawFd::as_raw_fd(&source));
    let args = vol_args(source, if read_only { READ_ONLY } else { 0 }, name)?;
    // SAFETY: as above; `fd` is that of an open directory that outlives the call.
    unsafe { ioctl(directory, Setter::<SNAP_CREATE, _>::new(args)) }
}

/// `BTRFS_IOC_SNAP_DESTROY_V2`: deletes the subvolume `name` in `directory`. One that has others below it is refused.
pub(super) fn destroy(directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let args = vol_args(0, 0, name)?;
    // SAFETY: as for `create`.
    unsafe { ioctl(directory, Setter::<SNAP_DESTROY, _>::new(args)) }
}

/// `BTRFS_IOC_SYNC`: ends when everything written to the file system so far is on disk.
pub(super) fn sync(anything: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the opcode takes no argument.
    unsafe { ioctl(anything, NoArg::<SYNC>::new()) }
}

/// `BTRFS_IOC_SUBVOL_GETFLAGS`: whether a subvolume is read-only.
pub(super) fn is_read_only(subvolume: BorrowedFd<'_>) -> Result<bool> {
    // SAFETY: the opcode writes a u64.
    let flags: u64 = unsafe { ioctl(subvolume, Getter::<GET_FLAGS, u64>::new())? };
    Ok(flags & READ_ONLY != 0)
}

/// `BTRFS_IOC_SUBVOL_SETFLAGS`
pub(super) fn set_read_only(subvolume: BorrowedFd<'_>, read_only: bool) -> Result<()> {
    let flags = if read_only { READ_ONLY } else { 0 };
    // SAFETY: the opcode reads a u64.
    unsafe { ioctl(subvolume, Setter::<SET_FLAGS, u64>::new(flags)) }
}

/// The subvolumes right below one, as (tree id, id of the directory they are in).
/// `BTRFS_IOC_GET_SUBVOL_ROOTREF`, which gives 255 at a time and says `EOVERFLOW` where there are more.
pub(super) fn children(subvolume: BorrowedFd<'_>) -> Result<Vec<(u64, u64)>> {
    let mut all = Vec::new();
    let mut args = RootRefs { min_treeid: 0, refs: [[0; 2]; ROOTREFS], count: 0, align: [0; 7] };
    loop {
        // SAFETY: the opcode reads and writes a `btrfs_ioctl_get_subvol_rootref_args`, which `RootRefs` is;
        // every bit pattern is valid for it.
        let result = unsafe { ioctl(subvolume, Updater::<GET_ROOTREF, _>::new(&mut args)) };
        all.extend(args.refs.iter().take(args.count.into()).map(|[tree, directory]| (*tree, *directory)));
        match result {
            Ok(()) => return Ok(all),
            // `min_treeid` is now where to go on from.
            Err(Errno::OVERFLOW) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Where a subvolume right below `top` is: the path from `top` to its directory, ending in '/' or empty, and
/// its name. `BTRFS_IOC_INO_LOOKUP_USER`.
pub(super) fn locate(top: BorrowedFd<'_>, tree: u64, directory: u64) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut args = LookupUser { dirid: directory, treeid: tree, name: [0; 256], path: [0; LOOKUP_PATH] };
    // SAFETY: the opcode reads and writes a `btrfs_ioctl_ino_lookup_user_args`, which `LookupUser` is; every
    // bit pattern is valid for it.
    unsafe { ioctl(top.as_fd(), Updater::<LOOKUP_USER, _>::new(&mut args))? };
    let text = |bytes: &[u8]| {
        CStr::from_bytes_until_nul(bytes).map(|s| s.to_bytes().to_vec()).map_err(|_| Errno::NAMETOOLONG)
    };
    Ok((text(&args.path)?, text(&args.name)?))
}
