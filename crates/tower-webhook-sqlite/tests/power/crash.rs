//! What a disk has after a loss of power.

use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::disk::{Apply, Body, Change, Disk, Kept, NameChange, Names, ROOT};

/// The files and folders that are left, by their paths on the disk.
pub(crate) struct Image {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) damage: Damage,
}

/// What became of the changes that were not synced.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Damage {
    pub(crate) kept: usize,
    pub(crate) dropped: usize,
    pub(crate) torn: usize,
}

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Of eight changes that were not synced, so many are dropped: another number for each image.
const LOSSES: [u8; 6] = [0, 1, 4, 4, 7, 8];

struct Crash<'d> {
    disk: &'d Disk,
    rng: &'d mut Rng,
    loss: u8,
    image: Image,
}

impl Image {
    /// Everything that was synced, and of the rest what chance leaves.
    pub(crate) fn of(disk: &Disk, rng: &mut Rng) -> Self {
        let loss = LOSSES[rng.usize(..LOSSES.len())];
        let image = Self {
            folders: Vec::new(),
            files: Vec::new(),
            damage: Damage::default(),
        };
        let mut crash = Crash {
            disk,
            rng,
            loss,
            image,
        };
        crash.walk(ROOT, Path::new(""));
        crash.image
    }

    pub(crate) fn write_into(&self, root: &Path) {
        for folder in &self.folders {
            std::fs::create_dir(root.join(folder)).unwrap();
        }
        for (path, contents) in &self.files {
            std::fs::write(root.join(path), contents).unwrap();
        }
    }
}

impl Crash<'_> {
    fn walk(&mut self, ino: u64, path: &Path) {
        let disk = self.disk;
        match &disk.node(ino).expect("names lead to nodes").body {
            Body::File(file) => {
                let contents = self.contents(file);
                self.image.files.push((path.to_owned(), contents));
            }
            Body::Folder(folder) => {
                if ino != ROOT {
                    self.image.folders.push(path.to_owned());
                }
                for (name, ino) in self.names(folder) {
                    self.walk(ino, &path.join(name));
                }
            }
        }
    }

    /// Each name may be as it was before or after any of its changes.
    fn names(&mut self, folder: &Kept<Names, NameChange>) -> Names {
        let mut names = folder.durable.clone();
        for change in &folder.pending {
            if self.keeps() {
                change.apply(&mut names);
            }
        }
        names
    }

    fn contents(&mut self, file: &Kept<Vec<u8>, Change>) -> Vec<u8> {
        let mut contents = file.durable.clone();
        let mut pending: Vec<_> = file.pending.iter().collect();
        pending.retain(|_| self.keeps());
        if self.rng.bool() {
            self.rng.shuffle(&mut pending);
        }
        for change in pending {
            match change {
                Change::Write { offset, bytes } if self.loss > 0 && self.rng.u8(..4) == 0 => {
                    self.tear(*offset, bytes, &mut contents);
                }
                whole => whole.apply(&mut contents),
            }
        }
        contents
    }

    fn keeps(&mut self) -> bool {
        let is_kept = self.rng.u8(..8) >= self.loss;
        match is_kept {
            true => self.image.damage.kept += 1,
            false => self.image.damage.dropped += 1,
        }
        is_kept
    }

    /// Some of its sectors are written.
    fn tear(&mut self, offset: usize, bytes: &[u8], contents: &mut Vec<u8>) {
        self.image.damage.torn += 1;
        let mut from = 0;
        while from < bytes.len() {
            let sector_ends = (offset + from) / SECTOR * SECTOR + SECTOR - offset;
            let to = sector_ends.min(bytes.len());
            if self.rng.bool() {
                let (offset, bytes) = (offset + from, bytes[from..to].to_vec());
                Change::Write { offset, bytes }.apply(contents);
            }
            from = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::disk::Node;

    /// A disk on which a file was written, its contents synced or its folder.
    fn disk(syncs_file: bool, syncs_folder: bool) -> Disk {
        let mut disk = Disk::new((0, 0));
        let file = disk.create(ROOT, OsStr::new("file"), Node::new_file(0o600));
        let file = file.unwrap();
        let (offset, bytes) = (100, vec![7; 1_000]);
        disk.change(file, Change::Write { offset, bytes }).unwrap();
        if syncs_file {
            disk.sync(file).unwrap();
        }
        if syncs_folder {
            disk.sync(ROOT).unwrap();
        }
        disk
    }

    /// The different contents that images have, `None` where there is no file.
    fn images(disk: &Disk) -> std::collections::HashSet<Option<Vec<u8>>> {
        let mut rng = Rng::with_seed(1);
        let image = |_| Image::of(disk, &mut rng).files.pop();
        let images = (0..200).map(image);
        images.map(|file| Some(file?.1)).collect()
    }

    #[test]
    fn what_was_synced_is_in_each_image() {
        let whole = [[0; 100].as_slice(), &[7; 1_000]].concat();
        assert_eq!(images(&disk(true, true)), [Some(whole)].into());
    }

    #[test]
    fn a_name_is_there_for_certain_once_its_folder_is_synced() {
        let images = images(&disk(true, false));
        assert!(images.contains(&None) && images.len() == 2);
    }

    #[test]
    fn a_write_that_was_not_synced_is_there_or_not_or_torn_at_sectors() {
        let images = images(&disk(false, true));
        let has = |image: Vec<u8>| images.contains(&Some(image));
        assert!(has(Vec::new()));
        assert!(has([[0; 100].as_slice(), &[7; 1_000]].concat()));
        assert!(has([[0; 512].as_slice(), &[7; 512]].concat()));
        assert!(images.len() > 4 && images.len() <= 8);
    }
}
