//! The run folder: everything one training leaves.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;

/// The resolved configuration; a folder with it holds a run.
const CONFIG: &str = "config.toml";
/// One row an epoch.
const LOG: &str = "log.csv";
const CHECKPOINTS: &str = "checkpoints";
const SAMPLES: &str = "samples";
const BEST: &str = "best.safetensors";
const LAST: &str = "last.safetensors";
const REPORT: &str = "report.html";
/// Held by the process that trains here.
const LOCK: &str = ".lock";
/// What a run writes; [`Existing::Overwrite`] removes these and nothing else.
const OWN: [&str; 7] = [CONFIG, LOG, CHECKPOINTS, SAMPLES, BEST, LAST, REPORT];

/// `runs/<name>/`: `config.toml`, `log.csv`, `checkpoints/`, `samples/`, `best.safetensors`, `last.safetensors`,
/// `report.html`. Held by one process at a time.
#[derive(Debug)]
pub struct RunFolder {
    root: PathBuf,
    existing: Existing,
    _lock: Lock,
}

/// What to do with what is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Refuse,
    /// Remove the old run's own files.
    Overwrite,
    /// Go on with it.
    Resume,
}

impl RunFolder {
    /// Makes or opens a run folder.
    ///
    /// # Errors
    /// [`Error::Config`] if something is there that `existing` does not allow for, or nothing to resume;
    /// [`Error::Input`] if another process trains there; [`Error::Io`] if the system refuses.
    pub fn open(root: &Path, existing: Existing) -> Result<Self> {
        let refuse = |what: &str| Err(Error::Config(format!("{} {what}", root.display())));
        let (is_run, is_empty) = (root.join(CONFIG).is_file(), is_empty(root)?);
        match existing {
            Existing::Refuse if is_run => {
                return refuse(
                    "already holds a run; continue it with --resume, replace it with --overwrite, or choose another \
                     --out",
                );
            }
            Existing::Refuse if !is_empty => return refuse("is not empty; choose another --out"),
            // Whoever mistypes --out must not lose a folder that happens to be called `samples`.
            Existing::Overwrite if !is_run && !is_empty => {
                return refuse("is not empty and holds no run to overwrite; choose another --out");
            }
            Existing::Resume if !is_run => return refuse("holds no run to resume; leave --resume out"),
            _ => {}
        }
        files::create_folder(root)?;
        let lock = Lock::take(&root.join(LOCK))?;
        if existing == Existing::Overwrite {
            OWN.iter().try_for_each(|name| remove(&root.join(name)))?;
        }
        files::create_folder(&root.join(CHECKPOINTS))?;
        Ok(Self { root: root.to_path_buf(), existing, _lock: lock })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The model with the best score so far.
    pub fn best(&self) -> PathBuf {
        self.file(BEST)
    }

    /// The model after the last epoch.
    pub fn last(&self) -> PathBuf {
        self.file(LAST)
    }

    /// The page about the run.
    pub fn report(&self) -> PathBuf {
        self.file(REPORT)
    }

    /// One row an epoch, of numbers under titles; the last column is the seconds of training.
    pub fn log(&self) -> PathBuf {
        self.file(LOG)
    }

    /// Where checkpoints lie.
    pub fn checkpoints(&self) -> PathBuf {
        self.file(CHECKPOINTS)
    }

    /// A folder for pictures made along the way, created on first use.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be created.
    pub fn samples(&self) -> Result<PathBuf> {
        let path = self.file(SAMPLES);
        files::create_folder(&path)?;
        Ok(path)
    }

    /// Writes the resolved configuration. A resumed run keeps the one it was started with: if that differs, its
    /// checkpoint refuses to go on, and the file says with what it would.
    ///
    /// # Errors
    /// [`Error::Io`] from the disk.
    pub fn write_config(&self, text: &str) -> Result<()> {
        match self.existing {
            Existing::Resume => Ok(()),
            Existing::Refuse | Existing::Overwrite => self.write(CONFIG, text),
        }
    }

    /// Writes a text file of the run.
    ///
    /// # Errors
    /// [`Error::Io`] from the disk.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        files::write_atomically(&self.file(name), |out| out.write_all(text.as_bytes()))
    }

    /// Keeps the log's first `rows` rows: those that the checkpoint knows of.
    ///
    /// # Errors
    /// [`Error::Io`] from the disk.
    pub fn truncate_log(&self, rows: u64) -> Result<()> {
        let path = self.log();
        let text = match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| Error::io("read", &path, e))?,
        };
        if rows == 0 {
            return remove(&path);
        }
        let lines = usize::try_from(rows).unwrap_or(usize::MAX).saturating_add(1);
        self.write(LOG, &text.split_inclusive('\n').take(lines).collect::<String>())
    }

    /// Adds a row to the log and waits until it is on the disk; the first row brings the titles.
    ///
    /// # Errors
    /// [`Error::Io`] from the disk.
    pub fn add_to_log(&self, titles: &[String], values: &[String]) -> Result<()> {
        let path = self.log();
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
            let mut text = String::new();
            if file.metadata()?.len() == 0 {
                text.push_str(&titles.join(","));
                text.push('\n');
            }
            text.push_str(&values.join(","));
            text.push('\n');
            file.write_all(text.as_bytes())?;
            file.sync_data()
        };
        write().map_err(|e| Error::io("write", &path, e))
    }
}

/// Whether nothing but a left-over lock is in a folder, or no folder is there.
fn is_empty(folder: &Path) -> Result<bool> {
    match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(Error::io("use as a run folder", folder, e)),
        Ok(mut entries) => Ok(entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK))),
    }
}

/// Removes a file or a whole folder, if it is there.
fn remove(path: &Path) -> Result<()> {
    let removed = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// A file that the system locks for this process, and frees when the process ends, however it ends.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| Error::io("create", path, e))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Input(format!(
                "another process is training in {}; wait for it or choose another --out",
                path.parent().unwrap_or(path).display()
            ))),
            // A file system without locks cannot protect, but should not forbid either.
            Err(TryLockError::Error(e)) if e.kind() != std::io::ErrorKind::Unsupported => {
                Err(Error::io("lock", path, e))
            }
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { path: path.to_path_buf(), _file: file }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
