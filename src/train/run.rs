//! The run folder: everything one training leaves.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

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

/// What a checkpoint must agree with: configuration, data and initial weights.
pub fn identity(config: &str, fingerprint: &str, init_from: Option<&Path>) -> String {
    let mut sum = Sha256::new();
    for part in [config.as_bytes(), fingerprint.as_bytes(), &[u8::from(init_from.is_some())]] {
        sum.update((part.len() as u64).to_le_bytes());
        sum.update(part);
    }
    sum.finalize().iter().map(|b| format!("{b:02x}")).collect()
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

    /// The log's text.
    ///
    /// # Errors
    /// [`Error::Io`] from the disk.
    pub fn read_log(&self) -> Result<String> {
        files::read_text(&self.log())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn row(text: &str) -> Vec<String> {
        text.split(',').map(String::from).collect()
    }

    fn message(result: Result<RunFolder>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_run_is_never_overwritten_by_accident() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("deep/run");
        assert!(message(RunFolder::open(&root, Existing::Resume)).contains("no run to resume"));
        assert!(!root.exists(), "a refusal leaves nothing behind");
        let run = RunFolder::open(&root, Existing::Refuse).unwrap();
        run.write_config("seed = 1\n").unwrap();
        run.add_to_log(&row("epoch,x"), &row("1,2")).unwrap();
        std::fs::write(root.join("notes.txt"), "mine").unwrap();
        drop(run);
        assert!(message(RunFolder::open(&root, Existing::Refuse)).contains("--resume"));
        let resumed = RunFolder::open(&root, Existing::Resume).unwrap();
        resumed.write_config("seed = 2\n").unwrap();
        assert_eq!(std::fs::read_to_string(root.join(CONFIG)).unwrap(), "seed = 1\n");
        drop(resumed);
        let new = RunFolder::open(&root, Existing::Overwrite).unwrap();
        assert!(!new.log().exists() && !root.join(CONFIG).exists() && root.join("notes.txt").exists());
    }

    #[test]
    fn a_folder_that_holds_no_run_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join(SAMPLES);
        std::fs::create_dir(&precious).unwrap();
        for existing in [Existing::Refuse, Existing::Overwrite, Existing::Resume] {
            assert!(
                matches!(RunFolder::open(folder.path(), existing), Err(Error::Config(_))),
                "{existing:?}"
            );
        }
        assert!(precious.exists());
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(RunFolder::open(&file, Existing::Refuse).is_err());
    }

    #[test]
    fn two_processes_cannot_train_in_one_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunFolder::open(folder.path(), Existing::Refuse).unwrap();
        first.write_config("").unwrap();
        // A second handle of this process is refused by the system just as another process is.
        assert!(message(RunFolder::open(folder.path(), Existing::Resume)).contains("another process"));
        drop(first);
        assert!(RunFolder::open(folder.path(), Existing::Resume).is_ok());
        assert!(!folder.path().join(LOCK).exists());
    }

    #[test]
    fn the_log_goes_back_to_what_the_checkpoint_knows() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::open(folder.path(), Existing::Refuse).unwrap();
        let log = || std::fs::read_to_string(run.log()).unwrap();
        run.truncate_log(0).unwrap();
        for values in ["1,a", "2,b", "3,c"] {
            run.add_to_log(&row("epoch,x"), &row(values)).unwrap();
        }
        // A row that the power cut short.
        std::fs::write(run.log(), log() + "4,").unwrap();
        run.truncate_log(2).unwrap();
        assert_eq!(log(), "epoch,x\n1,a\n2,b\n");
        run.add_to_log(&row("epoch,x"), &row("3,c")).unwrap();
        run.truncate_log(9).unwrap();
        assert_eq!(log(), "epoch,x\n1,a\n2,b\n3,c\n");
        run.truncate_log(0).unwrap();
        run.add_to_log(&row("epoch,x"), &row("1,a")).unwrap();
        assert_eq!(log(), "epoch,x\n1,a\n");
    }
}
