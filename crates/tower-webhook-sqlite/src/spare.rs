use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// A file of zeros beside the log that is given up when the disk is full.
///
/// A log can only begin anew once all of it is in the file, for which the file may have to grow by as
/// much as the log is long. So the spare file is as long as the log: giving it up is always enough.
pub(crate) struct Spare {
    path: PathBuf,
    log: PathBuf,
    len: u64,
}

/// It grows by so many bytes at least, and up to that length: as long as the log may be while
/// deliveries are taken.
const STEP: u64 = 128 << 10;
const LONGEST: u64 = 64 << 20;
const LONG: u64 = 1 << 20;

impl Spare {
    pub(crate) fn beside(file: &Path) -> Self {
        // The log is beside what a link leads to.
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let beside = |ending| {
            let mut path = file.clone().into_os_string();
            path.push(ending);
            PathBuf::from(path)
        };
        let path = beside("-spare");
        Self {
            len: fs::metadata(&path).map_or(0, |spare| spare.len()),
            log: beside("-wal"),
            path,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn log_len(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    /// Makes it as long as the log, and somewhat longer.
    ///
    /// # Errors
    ///
    /// Where there is no room for it: nothing is changed then.
    pub(crate) fn follow_log(&mut self) -> io::Result<()> {
        let log = self.log_len();
        if log < self.len || self.len >= LONGEST {
            return Ok(());
        }
        // By half of what a long log has: it has to grow seldom.
        let more = if log > LONG { log / 2 } else { STEP };
        let wanted = (log + more).min(LONGEST);
        let mut spare = self.open()?;
        // Another process may have made it longer, or have given it up.
        let before = spare.metadata()?.len();
        let zeros = vec![0; STEP as usize];
        let mut len = before;
        while len < wanted {
            let more = (wanted - len).min(STEP);
            if let Err(error) = spare.write_all(&zeros[..more as usize]) {
                self.len = before;
                spare.set_len(before)?;
                return Err(error);
            }
            len += more;
        }
        self.len = len;
        Ok(())
    }

    pub(crate) fn give_up(&mut self) {
        self.len = 0;
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the spare file of the SQLite outbox could not be removed");
        }
    }

    fn open(&self) -> io::Result<File> {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| !found.is_file()) {
            let found = "there is something else where the spare file belongs";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, found));
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.path)
    }
}
