//! Sizes and popularity of a fleet of key-value caches, as CacheLib's cachebench publishes them, or
//! a coarse table of the same shape where the files are not at hand.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::Sizes;
use super::drawn::{Drawn, Popularity};

/// Keys, evenly.
const KEY_BYTES: (usize, usize) = (16, 250);
/// The files have tens of kilobytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Values: their sizes begin at the range's number and end below the next one's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SizesFile {
    val_size_range: Vec<f64>,
    val_size_range_probability: Vec<f64>,
}

/// Classes of keys: how many keys, how often they are asked for together.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PopularityFile {
    popularity_buckets: Vec<f64>,
    popularity_weights: Vec<f64>,
}

/// Most values are small, few are large: first byte count and share of a thousand.
const COARSE_SIZES: [(f64, f64); 9] = [
    (32.0, 2.0),
    (64.0, 130.0),
    (96.0, 240.0),
    (128.0, 480.0),
    (160.0, 60.0),
    (320.0, 40.0),
    (1024.0, 30.0),
    (4096.0, 14.0),
    (16_384.0, 4.0),
];
/// Few keys get most: keys and share of a thousand.
const COARSE_POPULARITY: [(f64, f64); 6] = [
    (1.0, 60.0),
    (30.0, 140.0),
    (1000.0, 200.0),
    (30_000.0, 200.0),
    (600_000.0, 200.0),
    (9_000_000.0, 200.0),
];

pub(super) fn drawn(folder: Option<&Path>, keys: u64) -> Result<Drawn> {
    let (sizes, popularity) = match folder {
        Some(folder) => (read(&folder.join("sizes.json"))?, read(&folder.join("pop.json"))?),
        None => coarse(),
    };
    let mut drawn = Drawn::zipf(keys, 0.0, 0.0, ranges(&sizes)?)?;
    drawn.popularity = Popularity::Classes(classes(&popularity, keys)?);
    Ok(drawn)
}

fn coarse() -> (SizesFile, PopularityFile) {
    let (val_size_range, val_size_range_probability) = COARSE_SIZES.into_iter().unzip();
    let (popularity_buckets, popularity_weights) = COARSE_POPULARITY.into_iter().unzip();
    (
        SizesFile { val_size_range, val_size_range_probability },
        PopularityFile { popularity_buckets, popularity_weights },
    )
}

fn read<T: for<'d> Deserialize<'d>>(path: &Path) -> Result<T> {
    let shown = path.display();
    let size = fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.len();
    ensure!(size <= FILE_BYTES_MAX, "{shown}: more than {FILE_BYTES_MAX} bytes");
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    serde_json::from_str(&text).with_context(|| format!("{shown}"))
}

fn ranges(file: &SizesFile) -> Result<Sizes> {
    let (starts, shares) = (&file.val_size_range, &file.val_size_range_probability);
    ensure!(
        !starts.is_empty() && starts.len() == shares.len(),
        "{} ranges of sizes with {} shares",
        starts.len(),
        shares.len()
    );
    let mut weight = 0_u64;
    let mut values = Vec::with_capacity(starts.len());
    for (at, (&start, &share)) in starts.iter().zip(shares).enumerate() {
        ensure!(start >= 0.0 && share >= 0.0, "range {at}: {start} bytes, share {share}");
        weight = weight.saturating_add(share.round() as u64);
        let first = start as usize;
        let next = starts.get(at + 1).map_or(first, |&next| (next as usize).saturating_sub(1));
        values.push((weight, first, next.max(first)));
    }
    ensure!(weight > 0, "all shares of sizes are zero");
    Ok(Sizes::Ranges { key_bytes: KEY_BYTES, values: Arc::from(values) })
}

/// The classes shrunk or stretched to `keys` keys in all, each with one key at least.
fn classes(file: &PopularityFile, keys: u64) -> Result<Vec<(u64, u64, u64)>> {
    let (counts, weights) = (&file.popularity_buckets, &file.popularity_weights);
    ensure!(
        !counts.is_empty() && counts.len() == weights.len(),
        "{} classes of keys with {} weights",
        counts.len(),
        weights.len()
    );
    let all: f64 = counts.iter().sum();
    ensure!(all >= 1.0 && counts.iter().all(|&count| count >= 0.0), "classes without keys");
    let mut classes = Vec::with_capacity(counts.len());
    let (mut weight, mut before) = (0_u64, 0.0);
    for (&count, &share) in counts.iter().zip(weights) {
        ensure!(share >= 0.0, "a class of weight {share}");
        weight = weight.saturating_add(share.round() as u64);
        let first = (before / all * keys as f64) as u64;
        before += count;
        let end = ((before / all * keys as f64) as u64).min(keys);
        let first = first.min(keys - 1);
        classes.push((weight, first, end.saturating_sub(first).max(1)));
    }
    ensure!(weight > 0, "all weights of keys are zero");
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_published_form_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("sizes.json", r#"{"valSizeRange":[10,20],"valSizeRangeProbability":[3,1]}"#).unwrap();
        write("pop.json", r#"{"oneHits":0.1,"popularityBuckets":[1,9],"popularityWeights":[5,5]}"#)
            .unwrap();
        let drawn = drawn(Some(folder.path()), 100).unwrap();
        let sizes: Vec<usize> =
            (0..4000).map(|number| drawn.sizes.item(number).value_bytes).collect();
        assert!(sizes.iter().all(|&bytes| (10..20).contains(&bytes) || bytes == 20));
        let large = sizes.iter().filter(|&&bytes| bytes == 20).count();
        assert!((900..1100).contains(&large), "{large}");
        let hot = drawn.draws(None).take(10_000).filter(|draw| draw.0 < 10).count();
        assert!((4800..5200).contains(&hot), "{hot}");
    }

    #[test]
    fn files_of_another_form_are_refused() {
        let sizes = |starts: &[f64], shares: &[f64]| {
            ranges(&SizesFile {
                val_size_range: starts.to_vec(),
                val_size_range_probability: shares.to_vec(),
            })
        };
        assert!(sizes(&[], &[]).is_err());
        assert!(sizes(&[1.0], &[1.0, 2.0]).is_err());
        assert!(sizes(&[1.0], &[0.0]).is_err());
        assert!(sizes(&[-1.0], &[1.0]).is_err());
    }
}
