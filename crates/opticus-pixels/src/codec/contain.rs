//! A decoder's panic, caught and quiet.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::CodecError;

thread_local! {
    /// Whether this thread runs a decoder now, so that a panic is a finding and no news.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Sets the mark of this thread, and takes it back however the scope ends.
struct Mark(bool);

impl Mark {
    fn set() -> Self {
        Self(CONTAINED.replace(true))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        CONTAINED.set(self.0);
    }
}

/// Runs a decoder so that its panic, which a hostile file may provoke, is an error like any other, with nothing on
/// standard error.
///
/// The message of a panic is printed by the process's hook, before any unwinding. So a hook is installed once, before
/// the first decoding: it is silent on threads that decode, and elsewhere hands on to the hook it found. A program
/// with a hook of its own installs it first; one that comes later hears of decoders' panics too, which does no harm.
pub(super) fn contained<T>(decode: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |news| {
            // A thread without its locals is at its end: no decoder runs there.
            if !CONTAINED.try_with(Cell::get).unwrap_or(false) {
                before(news);
            }
        }));
    });
    let mark = Mark::set();
    let result = catch_unwind(AssertUnwindSafe(decode));
    drop(mark);
    result.unwrap_or_else(|_| Err(CodecError::Damaged("its decoder gave up on it".into())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    /// Named in the child's environment.
    const CHILD: &str = "OPTICUS_TEST_CONTAINED";

    /// The hook belongs to the process, so the test runs itself once more and reads that process's standard error.
    #[test]
    fn a_decoders_panic_is_quiet_and_others_are_heard() {
        if std::env::var_os(CHILD).is_some() {
            for _ in 0..2 {
                let result = contained::<()>(|| panic!("inside a decoder"));
                assert!(matches!(result, Err(CodecError::Damaged(_))));
                assert!(std::thread::spawn(|| panic!("outside")).join().is_err());
            }
            let nested = contained(|| {
                assert!(contained::<()>(|| panic!("inside a decoder")).is_err());
                contained::<()>(|| panic!("inside a decoder"))
            });
            assert!(nested.is_err());
            assert!(catch_unwind(|| panic!("afterwards")).is_err());
            return;
        }
        let name = std::thread::current().name().unwrap().to_owned();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name.as_str(), "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{said}");
        assert_eq!(said.matches("panicked at").count(), 3, "{said}");
        assert_eq!(said.matches("outside").count(), 2, "{said}");
        assert_eq!(said.matches("afterwards").count(), 1, "{said}");
    }
}
