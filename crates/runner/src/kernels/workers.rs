//! Threads that share out a product.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

/// Looks for work so often before a thread of a [`Team`] goes to sleep, or a caller lets others run.
const SPINS: usize = 4000;

/// Who computes the parts of a product.
#[derive(Clone, Copy)]
pub(crate) enum Workers<'a> {
    /// So many threads of rayon's, of which the caller is one.
    Pool(usize),
    /// A team that waits for nothing else.
    Team(&'a Team),
}

impl Workers<'_> {
    /// How many threads they are.
    pub(crate) fn threads(&self) -> usize {
        match self {
            Workers::Pool(threads) => (*threads).max(1),
            Workers::Team(team) => team.threads(),
        }
    }

    /// Calls `job` with every number below `jobs`, on all threads; a thread takes the next number when it is free.
    pub(crate) fn each(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        match self {
            _ if jobs <= 1 || self.threads() == 1 => (0..jobs).for_each(job),
            Workers::Team(team) => team.each(jobs, job),
            Workers::Pool(threads) => {
                let next = AtomicUsize::new(0);
                let work = || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= jobs {
                            return;
                        }
                        job(index);
                    }
                };
                rayon::in_place_scope(|scope| {
                    for _ in 1..(*threads).min(jobs) {
                        scope.spawn(|_| work());
                    }
                    work();
                });
            }
        }
    }
}

/// Threads that stay awake between the products of a decoding step, which follow each other by microseconds.
pub(crate) struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    /// One thread calls it: what `each` writes is not guarded against a second caller.
    _one_caller: PhantomData<Cell<()>>,
}

/// The door is closed.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// A job of a borrowed closure, of which the team forgets how long it lives.
type Job = *const (dyn Fn(usize) + Sync);

struct Shared {
    /// Which call this is; a change of it calls the threads.
    call: AtomicUsize,
    /// Its job; read by threads that are inside, written while none is and the door is closed.
    job: UnsafeCell<Option<Job>>,
    jobs: AtomicUsize,
    next: AtomicUsize,
    /// Threads inside, and [`CLOSED`] when no more may enter: on a busy machine the caller does not wait for a thread
    /// that has not even begun.
    inside: AtomicUsize,
    panicked: AtomicBool,
    closed: AtomicBool,
}

// SAFETY: `job` is written only while no thread is inside or may enter, and read only by those inside.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is to a closure that all threads may call.
unsafe impl Send for Shared {}

impl Team {
    /// A team of `threads`, the caller included.
    pub(crate) fn new(threads: usize) -> Team {
        let shared = Arc::new(Shared {
            call: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            jobs: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            inside: AtomicUsize::new(CLOSED),
            panicked: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        // A thread that the system refuses is one less.
        let start = |_| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("refrain-decode".into()).spawn(move || shared.serve()).ok()
        };
        let threads: Vec<JoinHandle<()>> = (1..threads.max(1)).filter_map(start).collect();
        let handles = threads.iter().map(|thread| thread.thread().clone()).collect();
        Team { shared, threads, handles, _one_caller: PhantomData }
    }

    fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Never from two threads at once, since a team is not `Sync`, nor from within a job.
    fn each(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime is changed; this function returns after every thread has left.
        let job: Job =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(job) };
        // SAFETY: the door is closed, and nobody inside.
        unsafe { *shared.job.get() = Some(job) };
        shared.jobs.store(jobs, Ordering::Relaxed);
        shared.next.store(0, Ordering::Relaxed);
        shared.inside.store(0, Ordering::Release);
        shared.call.fetch_add(1, Ordering::Release);
        self.handles.iter().for_each(Thread::unpark);
        let own = catch_unwind(AssertUnwindSafe(|| shared.work()));
        shared.inside.fetch_or(CLOSED, Ordering::AcqRel);
        let mut spins = 0;
        while shared.inside.load(Ordering::Acquire) != CLOSED {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        if let Err(panic) = own {
            std::panic::resume_unwind(panic);
        }
        assert!(!shared.panicked.swap(false, Ordering::Relaxed), "a thread of the team panicked");
    }
}

impl Shared {
    /// Takes jobs until none is left.
    fn work(&self) {
        // SAFETY: written before the door opened, and not again before this thread has left.
        let Some(job) = (unsafe { *self.job.get() }) else { return };
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.jobs.load(Ordering::Relaxed) {
                return;
            }
            // SAFETY: the closure lives until the caller has seen every thread leave.
            unsafe { (*job)(index) };
        }
    }

    /// A thread's life.
    fn serve(&self) {
        let mut seen = 0;
        loop {
            let mut spins = 0;
            let call = loop {
                let call = self.call.load(Ordering::Acquire);
                if call != seen {
                    break call;
                }
                if self.closed.load(Ordering::Acquire) {
                    return;
                }
                spins += 1;
                if spins < SPINS { std::hint::spin_loop() } else { std::thread::park() }
            };
            seen = call;
            let enter = |inside: usize| (inside & CLOSED == 0).then_some(inside + 1);
            if self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).is_err() {
                continue;
            }
            if catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.inside.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.handles.iter().for_each(Thread::unpark);
        for thread in self.threads.drain(..) {
            // Its panics were caught.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once() {
        let team = Team::new(3);
        for workers in [Workers::Team(&team), Workers::Pool(3), Workers::Pool(1)] {
            for jobs in [0, 1, 2, 7, 100] {
                let done: Vec<AtomicUsize> = (0..jobs).map(|_| AtomicUsize::new(0)).collect();
                for _ in 0..50 {
                    workers.each(jobs, &|index| {
                        done[index].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(done.iter().all(|times| times.load(Ordering::Relaxed) == 50), "{jobs}");
            }
        }
    }

    #[test]
    fn a_team_that_slept_wakes_and_a_panic_reaches_the_caller() {
        let team = Team::new(2);
        let count = AtomicUsize::new(0);
        let job = |_| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        team.each(2, &job);
        std::thread::sleep(std::time::Duration::from_millis(30));
        team.each(2, &job);
        assert_eq!(count.load(Ordering::Relaxed), 4);
        let fails = |index| assert!(index != 1, "job 1");
        assert!(catch_unwind(AssertUnwindSafe(|| team.each(2, &fails))).is_err());
    }
}
