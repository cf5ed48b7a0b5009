//! A mounted disk, for as long as the value lives.

use std::{
    io,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use fuser::{BackgroundSession, Config, MountOption};
use tempfile::TempDir;

use crate::{camera::Camera, disk::Disk, fs::Fs, watched::Watched};

pub(crate) struct Mount {
    watched: Arc<Mutex<Watched>>,
    session: Option<BackgroundSession>,
    folder: TempDir,
}

impl Mount {
    pub(crate) fn new(camera: Option<Camera>) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir()?;
        let ours = folder.path().metadata()?;
        let disk = Disk::new((ours.uid(), ours.gid()));
        let watched = Arc::new(Mutex::new(Watched { disk, camera }));
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("power".to_owned()),
            MountOption::DefaultPermissions,
        ];
        let session = fuser::spawn_mount(Fs(Arc::clone(&watched)), folder.path(), &config)?;
        Ok(Self {
            watched,
            session: Some(session),
            folder,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// How often this file was synced.
    pub(crate) fn syncs(&self, path: &str) -> usize {
        let disk = &self.watched.lock().unwrap().disk;
        disk.syncs(path.as_ref()).unwrap_or(0)
    }

    /// As [`Camera::aim`].
    pub(crate) fn aim(&self, images: usize, widest_gap: usize) {
        if let Some(camera) = &mut self.watched.lock().unwrap().camera {
            camera.aim(images, widest_gap);
        }
    }

    /// Whether all images were taken.
    pub(crate) fn has_shot(&self) -> bool {
        let watched = self.watched.lock().unwrap();
        watched.camera.as_ref().is_none_or(Camera::is_done)
    }
}

impl Drop for Mount {
    /// Also where the test panics, and perhaps has files open.
    fn drop(&mut self) {
        let watched = self.watched.lock();
        watched.unwrap_or_else(PoisonError::into_inner).camera = None;
        let session = self.session.take().expect("it is dropped once");
        if let Err(error) = session.umount_and_join() {
            eprintln!("the disk is still in use ({error}), and unmounted later");
            let path = self.folder.path();
            let _ = Command::new("umount").arg("-l").arg(path).status();
        }
    }
}
