//! The disk as a file system.

use std::{
    ffi::OsStr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::{
    disk::{Change, Node},
    watched::Watched,
};

pub(crate) struct Fs(pub(crate) Arc<Mutex<Watched>>);

/// The kernel asks again each time.
const TTL: Duration = Duration::ZERO;
/// Closing a file asks nobody: a process that is killed must not wait for its own threads.
const OPENED: FopenFlags = FopenFlags::FOPEN_NOFLUSH;
const GENERATION: Generation = Generation(0);
const NO_HANDLE: FileHandle = FileHandle(0);

impl Fs {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().expect("no image panics")
    }

    fn create_node(&self, folder: INodeNo, name: &OsStr, node: Node) -> Result<FileAttr, Errno> {
        let mut watched = self.watched();
        let disk = watched.changing();
        let ino = disk.create(folder.0, name, node)?;
        disk.attr(ino)
    }

    fn unlink_name(&self, folder: INodeNo, name: &OsStr) -> Result<(), Errno> {
        self.watched().changing().unlink(folder.0, name)
    }

    fn sync(&self, ino: INodeNo, reply: ReplyEmpty) {
        done(self.watched().changing().sync(ino.0), reply);
    }
}

impl Filesystem for Fs {
    fn lookup(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let disk = &self.watched().disk;
        let found = disk.find(folder.0, name);
        entry(found.and_then(|ino| disk.attr(ino)), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attr(self.watched().disk.attr(ino.0), reply);
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _accessed: Option<TimeOrNow>,
        _modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        _: Option<FileHandle>,
        _created: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut watched = self.watched();
        let disk = watched.changing();
        let set = (|| {
            if let Some(mode) = mode {
                disk.node_mut(ino.0)?.mode = permissions(mode, 0);
            }
            if let Some(size) = size {
                disk.change(ino.0, Change::Resize(size as usize))?;
            }
            disk.attr(ino.0)
        })();
        attr(set, reply);
    }

    fn mkdir(&self, _: &Request, at: INodeNo, name: &OsStr, mode: u32, umask: u32, r: ReplyEntry) {
        let folder = Node::new_folder(permissions(mode, umask));
        entry(self.create_node(at, name, folder), r);
    }

    fn create(
        &self,
        _: &Request,
        folder: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let file = Node::new_file(permissions(mode, umask));
        match self.create_node(folder, name, file) {
            Ok(attr) => reply.created(&TTL, &attr, GENERATION, NO_HANDLE, OPENED),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(NO_HANDLE, OPENED);
    }

    fn link(&self, _: &Request, ino: INodeNo, to: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut watched = self.watched();
        let disk = watched.changing();
        let linked = disk.link(ino.0, to.0, name);
        entry(linked.and_then(|()| disk.attr(ino.0)), reply);
    }

    fn unlink(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.unlink_name(folder, name), reply);
    }

    fn rmdir(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.unlink_name(folder, name), reply);
    }

    /// Within one folder, and replacing what is there.
    fn rename(
        &self,
        _: &Request,
        folder: INodeNo,
        name: &OsStr,
        new_folder: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if folder != new_folder || !flags.is_empty() {
            return reply.error(Errno::EXDEV);
        }
        let renamed = self.watched().changing().rename(folder.0, name, new_name);
        done(renamed, reply);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = &self.watched().disk;
        match disk.node(ino.0).and_then(Node::file) {
            Ok(file) => {
                let rest = file.now.get(offset as usize..).unwrap_or_default();
                reply.data(&rest[..rest.len().min(size as usize)]);
            }
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = Change::Write {
            offset: offset as usize,
            bytes: bytes.to_vec(),
        };
        match self.watched().changing().change(ino.0, write) {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.sync(ino, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.sync(ino, reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, from: u64, mut r: ReplyDirectory) {
        let disk = &self.watched().disk;
        let names = match disk.node(ino.0).and_then(Node::folder) {
            Ok(folder) => &folder.now,
            Err(error) => return r.error(error),
        };
        for (n, (name, ino)) in names.iter().enumerate().skip(from as usize) {
            let kind = disk
                .attr(*ino)
                .map_or(FileType::RegularFile, |attr| attr.kind);
            if r.add(INodeNo(*ino), n as u64 + 1, kind, name) {
                break;
            }
        }
        r.ok();
    }
}

fn permissions(mode: u32, umask: u32) -> u16 {
    (mode & !umask & 0o7777) as u16
}

fn done(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn entry(found: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match found {
        Ok(attr) => reply.entry(&TTL, &attr, GENERATION),
        Err(error) => reply.error(error),
    }
}

fn attr(found: Result<FileAttr, Errno>, reply: ReplyAttr) {
    match found {
        Ok(attr) => reply.attr(&TTL, &attr),
        Err(error) => reply.error(error),
    }
}
