//! Memory straight from the system: mappings that are really given back, advice, prefetch.
//!
//! Why not the allocator: a freed mapping leaves the process at once, so a lowered memory limit
//! lowers the resident set too, and a large aligned mapping can be backed by huge pages.
//!
//! Invariants: a [`Mapping`] is page-aligned, zeroed, private and exactly `len` bytes long to its
//! users; its pages are unmapped when, and only when, it is dropped.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, MlockAllFlags, ProtFlags};
use rustix::process::Resource;

/// The greatest mapping: Rust's own limit on the size of an object, beyond which pointer
/// arithmetic inside a slice is undefined.
pub const MAPPING_BYTES_MAX: usize = isize::MAX as usize;

/// An owned, zeroed, private, page-aligned piece of anonymous memory.
pub struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// Maps `bytes` (1 to [`MAPPING_BYTES_MAX`]) of zeroed memory. The kernel commits a page when
    /// it is first written, so a mapping costs what is used of it.
    ///
    /// # Errors
    /// `InvalidInput` for zero or too many bytes; else what the kernel answers (`OutOfMemory`).
    pub fn new(bytes: usize) -> io::Result<Self> {
        if bytes == 0 || bytes > MAPPING_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a mapping needs 1 to isize::MAX bytes",
            ));
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for (null and no MAP_FIXED), so the kernel picks a range that
        // overlaps nothing; anonymous memory has no file behind it that could shrink.
        let start = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, access, MapFlags::PRIVATE)
        }?;
        // mmap answers an address or an error, and never address zero unless asked for it.
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    /// Asks for huge pages behind this mapping, which lowers the cost of address translation.
    ///
    /// # Errors
    /// Where the kernel has no transparent huge pages (`InvalidInput`); the mapping stays usable.
    pub fn advise_huge(&self) -> io::Result<()> {
        // SAFETY: the range is exactly this mapping, which lives as long as `self`; the advice
        // changes how pages are backed, never what they contain.
        let advised = unsafe {
            rustix::mm::madvise(self.start.as_ptr().cast(), self.bytes, Advice::LinuxHugepage)
        };
        Ok(advised?)
    }

    /// Asks for huge pages in a range, or for none any more: what is backed by one stays so.
    pub(crate) fn advise_part(&self, from: usize, bytes: usize, huge: bool) -> io::Result<()> {
        if from.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let advice = if huge { Advice::LinuxHugepage } else { Advice::LinuxNoHugepage };
        // SAFETY: the range is inside this mapping, which lives as long as `self`; the advice
        // changes how pages are backed, never what they contain.
        let advised = unsafe {
            let start = self.start.as_ptr().add(from);
            rustix::mm::madvise(start.cast(), bytes, advice)
        };
        Ok(advised?)
    }

    /// Where it begins, for those who carve it: they keep to the rules of references themselves.
    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Gives the pages of a range back to the system; they read as zeros when they are touched
    /// next.
    ///
    /// # Errors
    /// `InvalidInput`: not whole pages of this mapping.
    ///
    /// # Safety
    /// Nobody has a reference into the range.
    pub(crate) unsafe fn forget(&self, from: usize, bytes: usize) -> io::Result<()> {
        if from.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the range is inside this mapping, which is private and anonymous, so its pages
        // read as zeros afterwards: initialised, as before. That nobody refers to them is the
        // caller's promise.
        let advised = unsafe {
            let start = self.start.as_ptr().add(from);
            rustix::mm::madvise(start.cast(), bytes, Advice::LinuxDontNeed)
        };
        Ok(advised?)
    }
}

/// Makes pages resident, so that the first write to each needs no fault. Where that is refused (a
/// limit of the system's memory, say) they stay as they are.
///
/// # Safety
/// `start` is the first of `bytes` bytes in pages of `page_bytes` that are mapped, writable and
/// anonymous, hold nothing of use, and that nobody else refers to.
pub(crate) unsafe fn populate(start: NonNull<u8>, bytes: usize, page_bytes: usize) {
    // SAFETY: faulting pages in changes nothing that can be read; the range is mapped as promised.
    let populated =
        unsafe { rustix::mm::madvise(start.as_ptr().cast(), bytes, Advice::LinuxPopulateWrite) };
    // Before Linux 5.14 the advice is unknown.
    if populated == Err(rustix::io::Errno::INVAL) {
        for at in (0..bytes).step_by(page_bytes.max(1)) {
            // SAFETY: inside the range, which is writable and holds nothing of use. Volatile: it is
            // the fault that is wanted.
            unsafe { start.add(at).write_volatile(0) };
        }
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `start` is the beginning of `bytes` mapped, readable, initialised (zeroed by the
        // kernel) bytes that live as long as `self`; `&self` rules out a concurrent `&mut [u8]`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl AsMut<[u8]> for Mapping {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`, and writable; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly what `new` mapped, nobody else unmaps it, and no reference
        // into it can outlive `self`. The only failure is a range that is not a mapping, which
        // `new` rules out; nothing could be done about it here.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

// SAFETY: a mapping owns its memory alone, like `Box<[u8]>`; nothing in it belongs to a thread.
unsafe impl Send for Mapping {}

// SAFETY: through `&Mapping` the memory can only be read (`advise_huge` leaves contents alone).
unsafe impl Sync for Mapping {}

/// Asks the processor to bring the cache line at the start of `value` near. Only a hint: it never
/// faults and changes nothing but time.
#[inline]
pub fn prefetch<T: ?Sized>(value: &T) {
    let address = std::ptr::from_ref(value).cast::<u8>();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of every x86_64 processor, and a prefetch of any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: `prfm` is a hint on every aarch64 processor; it reads no memory that the program can
    // observe, writes no register, no flag and no stack.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) address,
            options(nostack, preserves_flags, readonly),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// Keeps every present and future page of this process in memory, never in swap.
///
/// # Errors
/// When there is a limit on locked memory: what future mappings exceed it by would not be left
/// unlocked, but refused, and the process would fail long after this call succeeded.
pub fn lock_all_memory() -> io::Result<()> {
    if let Some(bytes) = rustix::process::getrlimit(Resource::Memlock).current {
        let message = format!(
            "only {bytes} bytes may be locked; start as root or lift the limit (ulimit -l, \
             LimitMEMLOCK=infinity)"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    fn resident_bytes(of: &Mapping) -> usize {
        // One number of 64 bits for each page of the address space; its top bit says "present". The
        // list of mappings would not do: the kernel merges neighbours of the same kind.
        let first = of.as_ref().as_ptr() as usize / 4096;
        let mut pages = vec![0; of.as_ref().len() / 4096 * 8];
        let map = std::fs::File::open("/proc/self/pagemap").unwrap();
        map.read_exact_at(&mut pages, first as u64 * 8).unwrap();
        pages.chunks_exact(8).filter(|page| page[7] & 0x80 != 0).count() * 4096
    }

    #[test]
    fn a_mapping_is_zeroed_aligned_and_writable_to_its_last_byte() {
        let mut mapping = Mapping::new(3 * 4096 + 1).unwrap();
        assert_eq!(mapping.as_ref().len(), 3 * 4096 + 1);
        assert_eq!(mapping.as_ref().as_ptr() as usize % 4096, 0);
        assert!(mapping.as_ref().iter().all(|&byte| byte == 0));
        mapping.as_mut().fill(0xa5);
        assert!(mapping.as_ref().iter().all(|&byte| byte == 0xa5));
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert_eq!(Mapping::new(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(Mapping::new(usize::MAX).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            Mapping::new(MAPPING_BYTES_MAX - 4096).unwrap_err().kind(),
            io::ErrorKind::OutOfMemory
        );
    }

    #[test]
    fn only_touched_pages_cost_memory_and_a_dropped_mapping_costs_none() {
        let mut mapping = Mapping::new(64 * 1024 * 1024 + 4096).unwrap();
        assert!(resident_bytes(&mapping) < 8 * 1024 * 1024);
        let start = mapping.as_ref().as_ptr() as usize;
        mapping.as_mut().fill(1);
        assert!(resident_bytes(&mapping) >= 64 * 1024 * 1024);
        drop(mapping);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(!maps.lines().any(|line| {
            let (from, rest) = line.split_once('-').unwrap();
            let to = rest.split_once(' ').unwrap().0;
            let from = usize::from_str_radix(from, 16).unwrap();
            (from..usize::from_str_radix(to, 16).unwrap()).contains(&start)
        }));
    }

    #[test]
    fn huge_advice_and_prefetch_leave_the_contents_alone() {
        let mut mapping = Mapping::new(4 * 1024 * 1024).unwrap();
        mapping.as_mut().fill(7);
        // Kernels without transparent huge pages answer an error; both answers are fine here.
        let _ = mapping.advise_huge();
        prefetch(mapping.as_ref());
        prefetch(&[0_u8; 0]);
        assert!(mapping.as_ref().iter().all(|&byte| byte == 7));
    }

    #[test]
    fn a_mapping_travels_between_threads() {
        let mut mapping = Mapping::new(4096).unwrap();
        let mapping = std::thread::spawn(move || {
            mapping.as_mut()[0] = 9;
            mapping
        })
        .join()
        .unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(mapping.as_ref()[0], 9));
            }
        });
    }
}
