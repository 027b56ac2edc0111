//! The run folder: everything one training leaves.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;

/// `runs/<name>/`: `config.toml`, `log.csv`, `checkpoints/`, `best.safetensors`, `last.safetensors`,
/// `report.html`.
#[derive(Debug)]
pub struct RunFolder {
    root: PathBuf,
    /// Removed when dropped; two processes must not write one run.
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

/// The files and folders a run writes; `--overwrite` removes these and nothing else.
const OWN: [&str; 7] = [
    "config.toml",
    "log.csv",
    "samples",
    "checkpoints",
    "best.safetensors",
    "last.safetensors",
    "report.html",
];

impl RunFolder {
    /// Makes or opens a run folder.
    ///
    /// # Errors
    /// [`Error::Config`] if a run is there and `existing` refuses, or none is there to resume;
    /// [`Error::Input`] if another process holds it.
    pub fn open(root: &Path, existing: Existing) -> Result<Self> {
        let there = OWN.iter().any(|name| root.join(name).exists());
        match (existing, there) {
            (Existing::Refuse, true) => {
                return Err(Error::Config(format!(
                    "{} already holds a run; continue it with --resume, replace it with --overwrite, or choose \
                     another --out",
                    root.display()
                )));
            }
            (Existing::Resume, false) => {
                return Err(Error::Config(format!(
                    "{} holds no run to resume; leave --resume out",
                    root.display()
                )));
            }
            _ => {}
        }
        files::create_folder(root)?;
        let lock = Lock::take(&root.join(".lock"))?;
        if existing == Existing::Overwrite {
            for path in OWN.iter().map(|name| root.join(name)) {
                let removed = match path.is_dir() {
                    true => std::fs::remove_dir_all(&path),
                    false if path.exists() => std::fs::remove_file(&path),
                    false => Ok(()),
                };
                removed.map_err(|e| Error::io("remove", &path, e))?;
            }
        }
        files::create_folder(&root.join("checkpoints"))?;
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where checkpoints lie.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// Writes a text file of the run.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        files::write_atomically(&self.file(name), |out| out.write_all(text.as_bytes()))
    }

    /// Keeps the log's first `rows` rows: those that the checkpoint knows of.
    pub fn truncate_log(&self, rows: u64) -> Result<()> {
        let path = self.file("log.csv");
        let text = match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| Error::io("read", &path, e))?,
        };
        let kept: String = text.split_inclusive('\n').take(1 + rows as usize).collect();
        self.write("log.csv", &kept)
    }

    /// Adds a row to the log, with a header before the first.
    pub fn log(&self, columns: &[&str], values: &[String]) -> Result<()> {
        let path = self.file("log.csv");
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
            let mut text = String::new();
            if file.metadata()?.len() == 0 {
                text.push_str(&columns.join(","));
                text.push('\n');
            }
            text.push_str(&values.join(","));
            text.push('\n');
            file.write_all(text.as_bytes())
        };
        write().map_err(|e| Error::io("write", &path, e))
    }
}

/// A file that the system locks for this process, and frees if the process dies, however it dies.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: std::fs::File,
}

impl Lock {
    fn take(path: &Path) -> Result<Self> {
        let file = std::fs::File::create(path).map_err(|e| Error::io("create", path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_path_buf(), _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::Input(format!(
                "another process is training in {}; wait for it or choose another --out",
                path.parent().unwrap_or(path).display()
            ))),
            Err(std::fs::TryLockError::Error(e)) => Err(Error::io("lock", path, e)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
