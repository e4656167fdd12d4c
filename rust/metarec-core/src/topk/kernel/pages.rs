//! Asking the system for huge pages: a scan over gigabytes otherwise spends a good part on address translation.

/// Below this, huge pages can't help.
#[cfg(target_os = "linux")]
const HUGE: usize = 2 << 20;

/// Advise that memory not yet touched may come in huge pages. A hint: nothing changes if it is refused.
#[cfg(target_os = "linux")]
pub fn prefer_huge<T>(memory: &mut [T]) {
    let bytes = size_of_val(memory);
    let start = memory.as_mut_ptr().cast::<u8>();
    // Only whole huge pages inside: the edges may belong to somebody else's allocation.
    let skipped = start.align_offset(HUGE);
    if let Some(inside) = bytes.checked_sub(skipped).map(|rest| rest / HUGE * HUGE)
        && inside > 0
    {
        // SAFETY: the range lies inside `memory`, which is borrowed for the call, and MADV_HUGEPAGE changes
        // neither its content nor its mapping.
        unsafe {
            libc::madvise(start.add(skipped).cast(), inside, libc::MADV_HUGEPAGE);
        }
    }
}

/// Other systems choose by themselves.
#[cfg(not(target_os = "linux"))]
pub fn prefer_huge<T>(_memory: &mut [T]) {}
