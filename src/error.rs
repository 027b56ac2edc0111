//! One error type, split by who can mend it.

use std::path::{Path, PathBuf};

/// `Result` with the product's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by who can mend it. Each message is one paragraph: what, where, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A picture, label or data set that cannot be used. Mended by whoever owns the data.
    #[error("{0}")]
    Input(String),
    /// A flag or configuration value that cannot be used. Mended by whoever typed it.
    #[error("{0}")]
    Config(String),
    /// A model file or checkpoint that is damaged, hostile or of another kind.
    #[error("{0}")]
    ModelFile(String),
    /// An input asks for more memory, pixels or time than allowed.
    #[error("{0}")]
    Limit(String),
    /// A compute device that is absent or failed.
    #[error("{0}")]
    Device(String),
    /// Training cannot go on (a loss that is not a number, for instance).
    #[error("{0}")]
    Diverged(String),
    /// The operating system refused: permissions, disk full, missing file.
    #[error("cannot {action} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// What was tried, as a verb: "read", "write", "create".
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The user pressed Ctrl-C; what was done so far is safe.
    #[error("{0}")]
    Interrupted(String),
}

fn remedy(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{NotFound, PermissionDenied, StorageFull};
    match source.kind() {
        NotFound => ". Check the path",
        PermissionDenied => ". Check the permissions of the file and of its folder",
        StorageFull => ". Free some disk space or choose another --out",
        _ => "",
    }
}

impl Error {
    /// An [`Error::Io`] that names the action and the file.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// The same of this model file, if it is what is wrong with one.
    pub fn of_model(self, path: &Path) -> Self {
        match self {
            Self::ModelFile(message) => Self::ModelFile(format!("{}: {message}", path.display())),
            other => other,
        }
    }

    /// The process exit status of the command-line contract: 2 configuration, 130 interrupted, 1 anything else.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Interrupted(_) => 130,
            _ => 1,
        }
    }
}
