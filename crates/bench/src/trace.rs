//! Traces of real caches: files of one key after another, from raw numbers or from lines of blocks.
//!
//! Invariants: what is read is bounded before it is kept; keys leave here renumbered `0..distinct`
//! in the order of their first request, so that what counts them needs no map.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

/// Unpacked bytes; the largest public trace that is worth replaying here has a tenth of it.
const UNPACKED_BYTES_MAX: u64 = 2 << 30;
/// Requests kept in memory, four bytes each.
const REQUESTS_MAX: usize = 1 << 28;

/// The byte order of a raw trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// Whichever makes neighbouring requests nearer to each other.
    Guess,
    /// Little-endian.
    Little,
    /// Big-endian.
    Big,
}

/// A trace: keys in the order of their requests.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What it is called: the file's name up to its first dot.
    pub name: String,
    /// Keys, renumbered.
    pub keys: Vec<u32>,
    /// Different keys.
    pub distinct: u32,
}

/// Reads `NAME.lis` (lines `start count ...`, one request a block) or else numbers of 32 bits;
/// either may be packed as `.xz` or `.zst`.
///
/// # Errors
/// When the file cannot be read, is not of its format, or is larger than the bounds above.
pub fn read(path: &Path, order: Order) -> Result<Trace> {
    let shown = path.display();
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
    let bytes =
        unpacked(BufReader::new(file), &name).with_context(|| format!("cannot read {shown}"))?;
    let is_blocks = name.split('.').any(|part| part == "lis");
    let parsed = if is_blocks { blocks(&bytes) } else { numbers(&bytes, order) };
    let (keys, distinct) = parsed.with_context(|| format!("{shown}"))?;
    ensure!(!keys.is_empty(), "{shown}: no request in it");
    let name = name.split('.').next().unwrap_or_default().to_owned();
    Ok(Trace { name, keys, distinct })
}

fn unpacked(file: impl BufRead, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = UNPACKED_BYTES_MAX + 1;
    if name.ends_with(".xz") {
        lzma_rust2::XzReader::new(file, true).take(limit).read_to_end(&mut bytes)?;
    } else if name.ends_with(".zst") {
        read_frames(file, &mut bytes)?;
    } else {
        let mut file = file;
        file.by_ref().take(limit).read_to_end(&mut bytes)?;
    }
    ensure!(bytes.len() as u64 <= UNPACKED_BYTES_MAX, "more than {UNPACKED_BYTES_MAX} bytes");
    Ok(bytes)
}

/// A `.zst` has one frame after another where it was joined of parts or packed by several threads;
/// frames that hold none of the data are skipped, and anything else behind a frame is an error.
fn read_frames(mut file: impl BufRead, bytes: &mut Vec<u8>) -> Result<()> {
    while bytes.len() as u64 <= UNPACKED_BYTES_MAX && !file.fill_buf()?.is_empty() {
        let left = UNPACKED_BYTES_MAX + 1 - bytes.len() as u64;
        match StreamingDecoder::new(&mut file) {
            Ok(frame) => frame.take(left).read_to_end(bytes)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let skipped = std::io::copy(
                    &mut file.by_ref().take(u64::from(length)),
                    &mut std::io::sink(),
                )?;
                ensure!(skipped == u64::from(length), "cut off in a frame to be skipped");
                0
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(())
}

/// Keys renumbered as they come.
#[derive(Default)]
struct Renumbered {
    known: HashMap<u64, u32>,
    keys: Vec<u32>,
}

impl Renumbered {
    fn push(&mut self, key: u64) -> Result<()> {
        ensure!(self.keys.len() < REQUESTS_MAX, "more than {REQUESTS_MAX} requests");
        let next = u32::try_from(self.known.len()).context("too many keys")?;
        self.keys.push(*self.known.entry(key).or_insert(next));
        Ok(())
    }

    fn done(self) -> Result<(Vec<u32>, u32)> {
        Ok((self.keys, u32::try_from(self.known.len())?))
    }
}

fn numbers(bytes: &[u8], order: Order) -> Result<(Vec<u32>, u32)> {
    let (words, rest) = bytes.as_chunks::<4>();
    ensure!(rest.is_empty(), "{} bytes are no whole number of 4-byte keys", bytes.len());
    let is_big = match order {
        Order::Big => true,
        Order::Little => false,
        Order::Guess => distance(words, u32::from_be_bytes) < distance(words, u32::from_le_bytes),
    };
    let read = if is_big { u32::from_be_bytes } else { u32::from_le_bytes };
    let mut renumbered = Renumbered::default();
    for &word in words {
        renumbered.push(u64::from(read(word)))?;
    }
    renumbered.done()
}

/// How far requests are from those before them, in bits. Turning bytes round keeps equal keys
/// equal, so hits and misses are the same in either order; but neighbours stay near in the true
/// one alone.
fn distance(words: &[[u8; 4]], read: fn([u8; 4]) -> u32) -> u64 {
    let keys = words.iter().map(|&word| read(word));
    let steps = keys.clone().zip(keys.skip(1));
    steps.map(|(key, next)| u64::from(32 - key.abs_diff(next).leading_zeros())).sum()
}

fn blocks(bytes: &[u8]) -> Result<(Vec<u32>, u32)> {
    let text = std::str::from_utf8(bytes).context("not a text")?;
    let mut renumbered = Renumbered::default();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.split_ascii_whitespace().map(str::parse::<u64>);
        let (Some(Ok(start)), Some(Ok(count))) = (words.next(), words.next()) else {
            bail!("line {}: `{line}` is not `start count ...`", at + 1);
        };
        let Some(end) = start.checked_add(count) else {
            bail!("line {}: `{line}` ends behind the last block", at + 1);
        };
        // Told before it is tried: a wrong count would keep the loop busy for minutes.
        ensure!(count <= REQUESTS_MAX as u64, "line {}: {count} blocks in one request", at + 1);
        for block in start..end {
            renumbered.push(block)?;
        }
    }
    renumbered.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_give_the_same_trace_and_the_true_one_is_guessed() {
        let keys: Vec<u32> = vec![1000, 1001, 1002, 1000, 70_000, 1001];
        let little: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
        let big: Vec<u8> = keys.iter().flat_map(|key| key.to_be_bytes()).collect();
        let expected = (vec![0, 1, 2, 0, 3, 1], 4);
        for order in [Order::Guess, Order::Little, Order::Big] {
            assert_eq!(numbers(&little, order).unwrap(), expected);
            assert_eq!(numbers(&big, order).unwrap(), expected);
        }
        let is_nearer = |bytes: &[u8]| {
            let words = bytes.as_chunks::<4>().0;
            distance(words, u32::from_be_bytes) < distance(words, u32::from_le_bytes)
        };
        assert!(is_nearer(&big) && !is_nearer(&little));
        assert!(numbers(&little[1..], Order::Guess).is_err());
    }

    #[test]
    fn lines_of_blocks_are_one_request_each() {
        let (keys, distinct) = blocks(b"10 3 0 0\n11 1 0 1\n\n10 0 0 2\n").unwrap();
        assert_eq!((keys, distinct), (vec![0, 1, 2, 1], 3));
        for bad in ["10\n", "a b\n", "18446744073709551615 2\n", "1 400000000\n"] {
            assert!(blocks(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn packed_files_are_unpacked_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        // `printf '\1\0\0\0\2\0\0\0\1\0\0\0' | xz`, and `printf '5 2 0 0\n' | zstd`.
        let xz = b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\
            \x00\x0b\x01\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00";
        let path = folder.path().join("broken.trace.xz");
        std::fs::write(&path, xz).unwrap();
        // Cut off in the middle: an error, never a shorter trace.
        assert!(read(&path, Order::Guess).is_err());
        let zst = b"\x28\xb5\x2f\xfd\x20\x08\x41\x00\x005 2 0 0\n";
        let path = folder.path().join("two.lis.zst");
        std::fs::write(&path, zst).unwrap();
        let trace = read(&path, Order::Guess).unwrap();
        assert_eq!((trace.name.as_str(), trace.keys, trace.distinct), ("two", vec![0, 1], 2));
        // Two frames, one to be skipped between them, are read to the end; what is no frame is not
        // passed over.
        let joined = [&zst[..], b"\x50\x2a\x4d\x18\x03\0\0\0abc", zst].concat();
        std::fs::write(&path, &joined).unwrap();
        assert_eq!(read(&path, Order::Guess).unwrap().keys, [0, 1, 0, 1]);
        for broken in [[zst, b"more".as_slice()].concat(), joined[..joined.len() - 20].to_vec()] {
            std::fs::write(&path, broken).unwrap();
            assert!(read(&path, Order::Guess).is_err());
        }
        assert!(read(&folder.path().join("absent"), Order::Guess).is_err());
    }
}
