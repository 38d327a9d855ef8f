//! Locking without poisoning: a panic in one task must not take the others down.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; every critical section of this crate leaves its data whole at every step.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
