//! How the crate takes a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Every change that is made under such a lock is a small one: a panic elsewhere leaves none half
/// done.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
