//! Panics of libraries, caught: their message would stand on stderr beside the error that is made of them.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `work` returns; none if it panics, which says nothing on stderr. The panic hook that was there is asked about
/// every other panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let earlier = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                earlier(panic);
            }
        }));
    });
    let outer = QUIET.replace(true);
    // What `work` was given is not looked at again after a panic.
    let done = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(outer);
    done.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_value_and_other_panics_stay_loud() {
        assert_eq!(caught(|| 3), Some(3));
        assert_eq!(caught(|| -> u8 { panic!("unseen") }), None);
        assert!(!QUIET.get(), "the next panic would go unseen");
    }
}
