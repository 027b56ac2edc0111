//! How work that is bound by memory is cut: by shape alone, never by the number of threads.

/// Values of one task: few enough to balance and to stay in the second cache, enough to pay for the hand-over.
/// Work of no more than this stays on the thread that asks for it.
pub(crate) const CHUNK: usize = 1 << 15;

pub(crate) fn check_len(what: &str, got: usize, wanted: usize) {
    assert!(got == wanted, "{what} has {got} values, its shape has {wanted}");
}

/// Rows of `row` values each that make one task of about [`CHUNK`] values.
pub(crate) fn rows_per_task(row: usize) -> usize {
    (CHUNK / row.max(1)).max(1)
}
