//! A disk in memory that knows what was synced, and what was not.
//!
//! It is harsher than POSIX systems usually are: a new file's name is not durable until its folder is
//! synced, however often the file itself was, and the same holds of a new folder's name.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    path::Path,
    time::SystemTime,
};

use fuser::Errno;

pub(crate) const ROOT: u64 = 1;

/// All files and folders. None is ever forgotten: a disk lives for a few seconds.
pub(crate) struct Disk {
    nodes: HashMap<u64, Node>,
    last: u64,
    /// Whom everything belongs to.
    pub(crate) owner: (u32, u32),
}

pub(crate) struct Node {
    pub(crate) mode: u16,
    pub(crate) links: u32,
    pub(crate) changed: SystemTime,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    File(Kept<Vec<u8>, Change>),
    Folder(Kept<Names, NameChange>),
}

pub(crate) type Names = BTreeMap<OsString, u64>;

/// What programs see, what survives for certain, and the changes that lead from one to the other.
pub(crate) struct Kept<T, C> {
    pub(crate) now: T,
    pub(crate) durable: T,
    pub(crate) pending: Vec<C>,
    /// How often it was synced.
    pub(crate) syncs: usize,
}

/// A change of a file's contents.
pub(crate) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

/// A change of a folder's names.
pub(crate) enum NameChange {
    Add(OsString, u64),
    Remove(OsString),
    Rename { from: OsString, to: OsString },
}

pub(crate) trait Apply<T> {
    fn apply(&self, to: &mut T);
}

impl Disk {
    pub(crate) fn new(owner: (u32, u32)) -> Self {
        let root = Node::new(0o755, Body::Folder(Kept::default()));
        Self {
            nodes: HashMap::from([(ROOT, root)]),
            last: ROOT,
            owner,
        }
    }

    pub(crate) fn node(&self, ino: u64) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::ENOENT)
    }

    pub(crate) fn node_mut(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    pub(crate) fn find(&self, folder: u64, name: &OsStr) -> Result<u64, Errno> {
        let names = &self.node(folder)?.folder()?.now;
        names.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// How often this file, by its path, was synced.
    pub(crate) fn syncs(&self, path: &Path) -> Result<usize, Errno> {
        let find = |folder, name| self.find(folder, name);
        let ino = path.iter().try_fold(ROOT, find)?;
        Ok(self.node(ino)?.file()?.syncs)
    }

    /// A new file or folder.
    pub(crate) fn create(&mut self, folder: u64, name: &OsStr, node: Node) -> Result<u64, Errno> {
        let ino = self.last + 1;
        self.nodes.insert(ino, node);
        self.last = ino;
        self.link(ino, folder, name)?;
        Ok(ino)
    }

    pub(crate) fn link(&mut self, ino: u64, folder: u64, name: &OsStr) -> Result<(), Errno> {
        if self.find(folder, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.node_mut(ino)?.links += 1;
        let add = NameChange::Add(name.to_owned(), ino);
        self.node_mut(folder)?.folder_mut()?.change(add);
        Ok(())
    }

    pub(crate) fn unlink(&mut self, folder: u64, name: &OsStr) -> Result<(), Errno> {
        let ino = self.find(folder, name)?;
        self.node_mut(ino)?.links -= 1;
        let remove = NameChange::Remove(name.to_owned());
        self.node_mut(folder)?.folder_mut()?.change(remove);
        Ok(())
    }

    pub(crate) fn rename(&mut self, folder: u64, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        self.find(folder, from)?;
        if let Ok(replaced) = self.find(folder, to) {
            self.node_mut(replaced)?.links -= 1;
        }
        let (from, to) = (from.to_owned(), to.to_owned());
        let rename = NameChange::Rename { from, to };
        self.node_mut(folder)?.folder_mut()?.change(rename);
        Ok(())
    }

    pub(crate) fn change(&mut self, ino: u64, change: Change) -> Result<(), Errno> {
        let node = self.node_mut(ino)?;
        node.changed = SystemTime::now();
        match &mut node.body {
            Body::File(file) => file.change(change),
            Body::Folder(_) => return Err(Errno::EISDIR),
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self, ino: u64) -> Result<(), Errno> {
        match &mut self.node_mut(ino)?.body {
            Body::File(file) => file.sync(),
            Body::Folder(folder) => folder.sync(),
        }
        Ok(())
    }
}

impl Node {
    fn new(mode: u16, body: Body) -> Self {
        let changed = SystemTime::now();
        Self {
            mode,
            links: 0,
            changed,
            body,
        }
    }

    pub(crate) fn new_file(mode: u16) -> Self {
        Self::new(mode, Body::File(Kept::default()))
    }

    pub(crate) fn new_folder(mode: u16) -> Self {
        Self::new(mode, Body::Folder(Kept::default()))
    }

    pub(crate) fn file(&self) -> Result<&Kept<Vec<u8>, Change>, Errno> {
        match &self.body {
            Body::File(file) => Ok(file),
            Body::Folder(_) => Err(Errno::EISDIR),
        }
    }

    pub(crate) fn folder(&self) -> Result<&Kept<Names, NameChange>, Errno> {
        match &self.body {
            Body::Folder(folder) => Ok(folder),
            Body::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn folder_mut(&mut self) -> Result<&mut Kept<Names, NameChange>, Errno> {
        match &mut self.body {
            Body::Folder(folder) => Ok(folder),
            Body::File(_) => Err(Errno::ENOTDIR),
        }
    }
}

impl<T, C: Apply<T>> Kept<T, C> {
    fn change(&mut self, change: C) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
        self.syncs += 1;
    }
}

impl<T: Default, C> Default for Kept<T, C> {
    fn default() -> Self {
        Self {
            now: T::default(),
            durable: T::default(),
            pending: Vec::new(),
            syncs: 0,
        }
    }
}

impl Apply<Vec<u8>> for Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(bytes);
            }
            Self::Resize(len) => to.resize(*len, 0),
        }
    }
}

impl Apply<Names> for NameChange {
    fn apply(&self, to: &mut Names) {
        match self {
            Self::Add(name, ino) => drop(to.insert(name.clone(), *ino)),
            Self::Remove(name) => drop(to.remove(name)),
            Self::Rename { from, to: name } => {
                if let Some(ino) = to.remove(from) {
                    to.insert(name.clone(), ino);
                }
            }
        }
    }
}
