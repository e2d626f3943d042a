//! How many bytes went through the streams of this thread, which is one shard: two plain counters, so that counting costs
//! one addition for each system call, whoever makes it (a session, a plain request, hyper).

use std::{cell::Cell, io, task::Poll};

thread_local! {
    static READ: Cell<u64> = const { Cell::new(0) };
    static WRITTEN: Cell<u64> = const { Cell::new(0) };
}

/// So many bytes were read.
pub(super) fn count_read(bytes: usize) {
    READ.set(READ.get().wrapping_add(bytes as u64));
}

/// Counts the bytes of a write, if it wrote any.
pub(super) fn count_write(written: io::Result<usize>) -> io::Result<usize> {
    if let Ok(bytes) = written {
        WRITTEN.set(WRITTEN.get().wrapping_add(bytes as u64));
    }
    written
}

/// [`count_write`] of a write that may be pending.
pub(super) fn count_poll_write(written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    written.map(count_write)
}

/// The bytes read and written by this thread since it began.
pub(in crate::net) fn read_and_written() -> (u64, u64) {
    (READ.get(), WRITTEN.get())
}
