//! libtorch's number of threads, which is the process's.

/// As long as it lives, libtorch may have another number of threads; then it has that of before, whatever happened.
#[must_use = "the number of threads is put back when this is dropped"]
pub struct Threads(i32);

impl Threads {
    /// Gives libtorch `count` threads, if that is given.
    pub fn limit(count: Option<usize>) -> Self {
        let before = Threads(tch::get_num_threads());
        if let Some(count) = count {
            tch::set_num_threads(count as i32);
        }
        before
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        tch::set_num_threads(self.0);
    }
}
