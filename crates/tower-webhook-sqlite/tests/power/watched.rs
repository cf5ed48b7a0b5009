//! The disk under the eyes of a camera, in the terms of FUSE.

use fuser::{Errno, FileAttr, FileType, INodeNo};

use crate::{
    camera::Camera,
    disk::{Body, Disk},
};

/// The disk, and who takes images of it.
pub(crate) struct Watched {
    pub(crate) disk: Disk,
    pub(crate) camera: Option<Camera>,
}

impl Watched {
    /// Before anything changes an image may be taken: an image is always of one moment.
    pub(crate) fn changing(&mut self) -> &mut Disk {
        let Self { disk, camera } = self;
        if let Some(camera) = camera {
            camera.see(disk);
        }
        disk
    }
}

impl Disk {
    pub(crate) fn attr(&self, ino: u64) -> Result<FileAttr, Errno> {
        let node = self.node(ino)?;
        let (kind, size) = match &node.body {
            Body::File(file) => (FileType::RegularFile, file.now.len() as u64),
            Body::Folder(_) => (FileType::Directory, 0),
        };
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: node.changed,
            mtime: node.changed,
            ctime: node.changed,
            crtime: node.changed,
            kind,
            perm: node.mode,
            nlink: node.links,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: 4_096,
            flags: 0,
        })
    }
}
