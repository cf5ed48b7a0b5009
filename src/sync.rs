//! What threads share by rules of our own is made of these. In the model tests they are shuttle's,
//! which runs the threads' steps in many orders.

#[cfg(not(all(test, shuttle)))]
pub(crate) use {
    std::sync::{Mutex, MutexGuard, atomic},
    tokio::sync::Notify,
};

#[cfg(all(test, shuttle))]
mod model;
#[cfg(all(test, shuttle))]
pub(crate) use {
    self::model::{Notify, in_many_orders},
    shuttle::sync::{Mutex, MutexGuard, atomic},
};

/// Every change that is made under such a lock is a small one: a panic elsewhere leaves none half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
