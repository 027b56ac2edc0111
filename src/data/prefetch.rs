//! Doing work ahead of its consumer: in parallel, in order, within bounds.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Runs `make(0)`, `make(1)`, … `make(count - 1)` on `threads` threads, up to `ahead` items before the
/// consumer, and yields the results in that order whatever the number of threads.
///
/// At most `ahead` items (finished or in the making) exist besides the one the consumer holds. Dropping the
/// iterator stops the threads after the item each one is making; a panic in `make` surfaces in the consumer.
pub fn prefetch<T, F>(count: usize, threads: usize, ahead: usize, make: F) -> Prefetch<T>
where
    T: Send + 'static,
    F: Fn(usize) -> T + Send + Sync + 'static,
{
    let ahead = ahead.max(1);
    let shared = Arc::new(Shared {
        state: Mutex::new(State { started: 0, delivered: 0, stopped: false, ready: BTreeMap::new() }),
        wanted: Condvar::new(),
        finished: Condvar::new(),
        count,
        ahead,
    });
    let make = Arc::new(make);
    let workers = (0..threads.clamp(1, ahead).min(count))
        .map(|_| {
            let (shared, make) = (Arc::clone(&shared), Arc::clone(&make));
            std::thread::spawn(move || shared.work(make.as_ref()))
        })
        .collect();
    Prefetch { shared, workers }
}

/// The iterator of [`prefetch`].
pub struct Prefetch<T> {
    shared: Arc<Shared<T>>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Told when the consumer takes an item or stops.
    wanted: Condvar,
    /// Told when an item is finished.
    finished: Condvar,
    count: usize,
    ahead: usize,
}

struct State<T> {
    started: usize,
    delivered: usize,
    stopped: bool,
    ready: BTreeMap<usize, std::thread::Result<T>>,
}

impl<T> Shared<T> {
    /// A panic in `make` is caught outside the lock, so a poisoned lock still guards a whole state.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, make: &(impl Fn(usize) -> T + ?Sized)) {
        loop {
            let index = {
                let mut state = self.lock();
                while !state.stopped
                    && state.started < self.count
                    && state.started >= state.delivered + self.ahead
                {
                    state = self.wanted.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.stopped || state.started >= self.count {
                    return;
                }
                state.started += 1;
                state.started - 1
            };
            let result = catch_unwind(AssertUnwindSafe(|| make(index)));
            let mut state = self.lock();
            // After a panic the items behind it are of no use to anyone.
            state.stopped |= result.is_err();
            state.ready.insert(index, result);
            drop(state);
            self.finished.notify_all();
        }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let mut state = self.shared.lock();
        let index = state.delivered;
        if index >= self.shared.count {
            return None;
        }
        let result = loop {
            if let Some(result) = state.ready.remove(&index) {
                break result;
            }
            // Stopped by a panic that the consumer has already seen: nothing more will come.
            if state.stopped && state.started <= index {
                return None;
            }
            state = self.shared.finished.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.delivered += 1;
        drop(state);
        self.shared.wanted.notify_all();
        match result {
            Ok(item) => Some(item),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.shared.count - self.shared.lock().delivered;
        (left, Some(left))
    }
}

impl<T> ExactSizeIterator for Prefetch<T> {}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.wanted.notify_all();
        for worker in self.workers.drain(..) {
            // A worker's panic was caught and handed over; joining cannot fail.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn items_come_in_order_whatever_the_threads() {
        for threads in [1, 2, 3, 8] {
            let items: Vec<usize> = prefetch(100, threads, 5, |i| {
                std::thread::sleep(Duration::from_micros((i * 7919 % 13) as u64 * 50));
                i * i
            })
            .collect();
            assert_eq!(items, (0..100).map(|i| i * i).collect::<Vec<_>>(), "{threads} threads");
        }
    }

    #[test]
    fn no_more_than_ahead_items_exist() {
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let alive = Arc::new(AtomicUsize::new(0));
        let peak = Arc::new(AtomicUsize::new(0));
        let (a, p) = (Arc::clone(&alive), Arc::clone(&peak));
        let items = prefetch(50, 8, 3, move |_| {
            p.fetch_max(a.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Counted(Arc::clone(&a))
        });
        for item in items {
            std::thread::sleep(Duration::from_millis(2));
            drop(item);
        }
        assert!(peak.load(Ordering::SeqCst) <= 4, "{}", peak.load(Ordering::SeqCst));
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn dropping_it_stops_the_threads() {
        let made = Arc::new(AtomicUsize::new(0));
        let m = Arc::clone(&made);
        let mut items = prefetch(1_000_000, 4, 4, move |i| {
            m.fetch_add(1, Ordering::SeqCst);
            i
        });
        assert_eq!(items.next(), Some(0));
        assert_eq!(items.len(), 999_999);
        drop(items);
        let after = made.load(Ordering::SeqCst);
        assert!(after <= 6, "{after}");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(made.load(Ordering::SeqCst), after);
    }

    #[test]
    fn a_panic_reaches_the_consumer() {
        let items = prefetch(100, 3, 3, |i| assert!(i != 10, "broken at {i}"));
        let caught = catch_unwind(AssertUnwindSafe(|| items.count()));
        assert!(caught.is_err());
    }

    #[test]
    fn nothing_to_do_is_nothing() {
        assert_eq!(prefetch(0, 4, 4, |i| i).count(), 0);
    }
}
