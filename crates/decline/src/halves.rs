//! Works on all partners with two threads, once there are enough of them to be worth it.

use std::thread;

/// Below so many partners the start of a thread costs more than it saves.
const WORTH_FROM: usize = 4_000;

/// Returns `f` of every index below `count`, in order.
pub(crate) fn map<T: Send>(count: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    map_from(WORTH_FROM, count, f)
}

/// The same, with two threads from so many on: for work that is heavier.
pub fn map_from<T: Send>(worth_from: usize, count: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    if count < worth_from {
        return (0..count).map(f).collect();
    }
    let (mut first, second) = both(
        || (0..count / 2).map(&f).collect::<Vec<T>>(),
        || (count / 2..count).map(&f).collect::<Vec<T>>(),
    );
    first.extend(second);
    first
}

/// Runs two pieces of work side by side and returns both results.
pub(crate) fn both<A, B: Send>(a: impl FnOnce() -> A, b: impl FnOnce() -> B + Send) -> (A, B) {
    thread::scope(|scope| {
        let second = scope.spawn(b);
        let first = a();
        // A panic over there is a panic here.
        (first, second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_on_one_thread_and_on_two() {
        for count in [0, 1, WORTH_FROM - 1, WORTH_FROM, WORTH_FROM + 1] {
            let expected: Vec<usize> = (0..count).map(|i| i * 2).collect();
            assert_eq!(map(count, |i| i * 2), expected);
        }
    }
}
