//! Who does the work of a run: the thread that asked for it, and whichever threads of the pool come to help.
//!
//! A network is a hundred short phases. Handing each of them to a pool costs more than some of the phases, so the
//! helpers stay for the whole run and wait for the next phase by looking. Nobody is waited for but those who have
//! taken a task: a run is finished by the asking thread alone if no other comes, so that runs inside of other
//! parallel work, or many at once, cannot lock each other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Looks at the next phase before the time slice is given up.
const LOOKS: usize = 1 << 12;

/// Tasks of one phase that nobody has taken yet, and those that are done.
#[derive(Default)]
struct Progress {
    taken: AtomicUsize,
    done: AtomicUsize,
}

/// Runs `work(phase, task)` for `tasks[phase]` tasks of each phase; a phase begins when the one before it is done.
pub(super) fn run(tasks: &[usize], work: impl Fn(usize, usize) + Sync) {
    let helpers = rayon::current_num_threads() - 1;
    let most = tasks.iter().copied().max().unwrap_or(0);
    if helpers.min(most.saturating_sub(1)) == 0 {
        for (phase, &tasks) in tasks.iter().enumerate() {
            (0..tasks).for_each(|task| work(phase, task));
        }
        return;
    }
    let team = Team {
        tasks,
        progress: tasks.iter().map(|_| Progress::default()).collect(),
        open: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
    };
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers.min(most - 1) {
            scope.spawn(|_| team.help(&work));
        }
        team.lead(&work);
    });
}

struct Team<'a> {
    tasks: &'a [usize],
    progress: Vec<Progress>,
    /// Phases that have begun; more than there are when all is done.
    open: AtomicUsize,
    failed: AtomicBool,
}

impl Team<'_> {
    fn lead(&self, work: &impl Fn(usize, usize)) {
        // However this ends, the helpers go home.
        let _end = Finally(|| self.open.store(usize::MAX, Ordering::Release));
        for (phase, &tasks) in self.tasks.iter().enumerate() {
            self.open.store(phase + 1, Ordering::Release);
            self.share(phase, work);
            wait(|| self.progress[phase].done.load(Ordering::Acquire) == tasks || self.failed());
            assert!(!self.failed(), "a helper panicked");
        }
    }

    fn help(&self, work: &impl Fn(usize, usize)) {
        let mut seen = 0;
        loop {
            let mut open = 0;
            wait(|| {
                open = self.open.load(Ordering::Acquire);
                open > seen
            });
            if open > self.tasks.len() {
                return;
            }
            seen = open;
            self.share(open - 1, work);
        }
    }

    /// Does tasks of this phase while there are any.
    fn share(&self, phase: usize, work: &impl Fn(usize, usize)) {
        let Progress { taken, done } = &self.progress[phase];
        loop {
            let task = taken.fetch_add(1, Ordering::Relaxed);
            if task >= self.tasks[phase] {
                return;
            }
            let unwound = Finally(|| self.failed.store(true, Ordering::Release));
            work(phase, task);
            std::mem::forget(unwound);
            done.fetch_add(1, Ordering::Release);
        }
    }

    fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

fn wait(mut ready: impl FnMut() -> bool) {
    let mut looks = 0;
    while !ready() {
        looks += 1;
        if looks % LOOKS == 0 {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

/// Calls the function when dropped.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_and_after_the_phase_before() {
        let tasks = [3, 0, 100, 1, 17];
        let counts: Vec<Vec<AtomicUsize>> =
            tasks.iter().map(|&n| (0..n).map(|_| AtomicUsize::new(0)).collect()).collect();
        run(&tasks, |phase, task| {
            for before in &counts[..phase] {
                assert!(before.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
            counts[phase][task].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().flatten().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn runs_inside_parallel_work_do_not_lock_each_other() {
        use rayon::prelude::*;
        let sum = AtomicUsize::new(0);
        (0..64).into_par_iter().for_each(|_| {
            run(&[8, 8, 8], |_, _| {
                sum.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 64 * 24);
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let caught = std::panic::catch_unwind(|| {
            run(&[64], |_, task| assert!(task != 40, "task 40"));
        });
        assert!(caught.is_err());
    }
}
