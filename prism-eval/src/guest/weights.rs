//! Norms of the weights in a snapshot, and how far they moved since the last one, read by the host.
//!
//! A snapshot is a file in the layout of safetensors: names, shapes and plain numbers. Nothing of it is loaded or run. What
//! a snapshot holds is the guest's own: predictions are audited from it, but it may hold tensors that no prediction
//! needs. So these numbers are shown, and no score reads them.
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// Longest header that is read.
const HEADER: u64 = 16 << 20;
/// Bytes of a tensor that are read at once; a whole number of any type's.
const PART: usize = 1 << 16;

/// What the weights of a snapshot show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weights {
    /// Root of the sum of the squares of all floating-point numbers.
    pub(super) norm: f64,
    /// The norm of their difference to the last snapshot, over `norm`; tensors count that are in both.
    pub(super) update: Option<f64>,
}

impl Weights {
    /// Reads a snapshot, and the one before.
    ///
    /// # Errors
    /// A file that can't be read, or is none of this layout.
    pub(super) fn of(snapshot: &Path, before: Option<&Path>) -> io::Result<Self> {
        let mut now = Tensors::open(snapshot)?;
        let mut before = before.map(Tensors::open).transpose()?;
        // Entries that overlap would make a small file endless.
        let mut all = 0u64;
        for entry in now.entries.values() {
            all = all.saturating_add(entry.bytes()?);
        }
        if all > std::fs::metadata(snapshot)?.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let (mut squares, mut moved) = (0.0, 0.0);
        let entries = now.entries.clone();
        for (name, entry) in &entries {
            let Some(kind) = entry.kind() else { continue };
            let same = before.as_ref().and_then(|before| before.entries.get(name)).cloned();
            let same = same.filter(|same| (&same.dtype, &same.shape) == (&entry.dtype, &entry.shape));
            now.seek(entry)?;
            if let (Some(before), Some(same)) = (&mut before, &same) {
                before.seek(same)?;
            }
            let mut left = entry.bytes()?;
            let (mut part, mut old) = (vec![0; PART], vec![0; PART]);
            while left > 0 {
                let count = usize::try_from(left).unwrap_or(PART).min(PART);
                let (Some(part), Some(old)) = (part.get_mut(..count), old.get_mut(..count)) else { break };
                now.file.read_exact(part)?;
                squares += kind.values(part).map(|value| value * value).sum::<f64>();
                if let (Some(before), Some(_)) = (&mut before, &same) {
                    before.file.read_exact(old)?;
                    moved += kind.values(part).zip(kind.values(old)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
                }
                left -= count as u64;
            }
        }
        let norm = squares.sqrt();
        let update = before.filter(|_| norm > 0.0).map(|_| moved.sqrt() / norm);
        Ok(Self { norm, update })
    }
}

/// A tensor in the header; other entries have no type.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Entry {
    fn kind(&self) -> Option<Number> {
        Some(match self.dtype.as_str() {
            "F64" => Number::F64,
            "F32" => Number::F32,
            "F16" => Number::F16,
            "BF16" => Number::Bf16,
            _ => return None,
        })
    }

    fn bytes(&self) -> io::Result<u64> {
        let [start, end] = self.data_offsets;
        end.checked_sub(start).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }
}

#[derive(Debug)]
struct Tensors {
    file: BufReader<File>,
    entries: BTreeMap<String, Entry>,
    base: u64,
}

impl Tensors {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(PART, File::open(path)?);
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > HEADER {
            return Err(io::Error::other(format!("header of {length} bytes, at most {HEADER} are read")));
        }
        let mut header = Vec::new();
        file.by_ref().take(length).read_to_end(&mut header)?;
        let entries = serde_json::from_slice(&header).map_err(io::Error::other)?;
        Ok(Self { file, entries, base: 8 + length })
    }

    fn seek(&mut self, entry: &Entry) -> io::Result<()> {
        let [start, _] = entry.data_offsets;
        let place = self.base.checked_add(start).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        self.file.seek(SeekFrom::Start(place)).map(|_| ())
    }
}

#[derive(Debug, Clone, Copy)]
enum Number {
    F64,
    F32,
    F16,
    Bf16,
}

impl Number {
    fn values(self, bytes: &[u8]) -> impl Iterator<Item = f64> {
        let size = match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        };
        bytes.chunks_exact(size).map(move |bytes| match (self, bytes) {
            (Self::F64, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            (Self::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
            (Self::Bf16, &[a, b]) => f64::from(f32::from_le_bytes([0, 0, a, b])),
            (_, &[a, b]) => half(u16::from_le_bytes([a, b])),
            _ => f64::NAN,
        })
    }
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1024.0);
    let value = match exponent {
        0 => fraction * 2f64.powi(-14),
        0x1f => {
            if fraction == 0.0 {
                f64::INFINITY
            } else {
                f64::NAN
            }
        }
        exponent => (1.0 + fraction) * 2f64.powi(exponent - 15),
    };
    if bits >> 15 == 0 { value } else { -value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use tempfile::NamedTempFile;

    fn file(header: &str, data: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(data).unwrap();
        file
    }

    fn one(values: &[f32]) -> NamedTempFile {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let entry = format!(r#"{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}"#, values.len(), bytes.len());
        file(&format!(r#"{{"w":{entry},"__metadata__":{{"tied":"{{}}"}}}}"#), &bytes)
    }

    #[test]
    fn the_norm_and_the_relative_update_are_those_of_the_numbers() {
        let (before, after) = (one(&[3.0, 0.0, 0.0]), one(&[3.0, 4.0, 0.0]));
        assert_eq!(Weights::of(before.path(), None).unwrap(), Weights { norm: 3.0, update: None });
        let moved = Weights::of(after.path(), Some(before.path())).unwrap();
        assert_eq!(moved, Weights { norm: 5.0, update: Some(0.8) });
        // More than is read at once.
        let long = Weights::of(one(&vec![1.0; 40_000]).path(), None).unwrap();
        assert_eq!(long.norm, 200.0);
        // Another shape is another tensor.
        assert_eq!(Weights::of(one(&[2.0]).path(), Some(after.path())).unwrap().update, Some(0.0));
    }

    #[test]
    fn every_floating_type_is_read_and_others_are_no_weights() {
        let header = r#"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},
            "b":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]},
            "c":{"dtype":"F16","shape":[1],"data_offsets":[10,12]},
            "d":{"dtype":"I64","shape":[1],"data_offsets":[12,20]}}"#;
        let mut data = 2f64.to_le_bytes().to_vec();
        data.extend([0x80, 0x3f]); // 1 in BF16
        data.extend([0x00, 0xc0]); // -2 in F16
        data.extend(9i64.to_le_bytes());
        assert_eq!(Weights::of(file(header, &data).path(), None).unwrap().norm, 3.0);
        for (bits, value) in [(0x3c00, 1.0), (0x0001, 2f64.powi(-24)), (0x7bff, 65504.0), (0xfc00, f64::NEG_INFINITY)] {
            assert_eq!(half(bits), value);
        }
    }

    #[test]
    fn what_is_no_snapshot_is_an_error() {
        let whole = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        for broken in [
            file("{", &[]),
            file(whole, &[0; 7]),
            file(&whole.replace("[0,8]", "[8,0]"), &[0; 8]),
            file(&whole.replace("[0,8]", "[18446744073709551615,18446744073709551615]"), &[0; 8]),
            file(r#"{"w":1}"#, &[]),
            file(&whole.replace("[0,8]", "[0,4096]"), &[0; 8]),
        ] {
            assert!(Weights::of(broken.path(), None).is_err());
        }
        let shared = r#"{"dtype":"F32","shape":[4096],"data_offsets":[0,16384]}"#;
        let twice = file(&format!(r#"{{"a":{shared},"b":{shared}}}"#), &[0; 16384]);
        assert!(Weights::of(twice.path(), None).is_err(), "one place of the file is read twice");
        let mut endless = NamedTempFile::new().unwrap();
        endless.write_all(&u64::MAX.to_le_bytes()).unwrap();
        assert!(Weights::of(endless.path(), None).is_err());
    }
}
