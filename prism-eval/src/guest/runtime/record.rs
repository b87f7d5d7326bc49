//! `RECORD`, the list of a package's files that comes with it: path, digest and size, one CSV line each (PEP 376, PEP 427).
use super::RuntimeError;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use prism_core::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// One file of a package.
struct Entry {
    path: String,
    digest: Digest,
    bytes: u64,
}

/// All `RECORD` files of the packages in a folder, sorted.
pub(super) fn records(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dist-info") {
            let record = path.join("RECORD");
            if record.is_file() {
                records.push(record);
            }
        }
    }
    records.sort();
    Ok(records)
}

/// Checks the files that a `RECORD` lists, by size alone or by content. Lines without a digest list what is made later.
pub(super) fn check(record: &Path, contents: bool) -> Result<(), RuntimeError> {
    let text = fs::read_to_string(record).map_err(|source| RuntimeError::io("read", record, source))?;
    let site = record.parent().and_then(Path::parent).unwrap_or(record);
    for entry in text.lines().filter_map(entry) {
        let path = site.join(&entry.path);
        let changed = |how| RuntimeError::Changed { path: path.clone(), how };
        let found = fs::metadata(&path).map_err(|_| changed("is gone"))?;
        if found.len() != entry.bytes {
            return Err(changed("has another size"));
        }
        if contents && digest_of(&path)? != entry.digest {
            return Err(changed("has other contents"));
        }
    }
    Ok(())
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.trim_end().rsplitn(3, ',');
    let (bytes, digest, path) = (fields.next()?.parse().ok()?, fields.next()?, fields.next()?);
    let digest = URL_SAFE_NO_PAD.decode(digest.strip_prefix("sha256=")?).ok()?;
    let quoted = path.strip_prefix('"').and_then(|path| path.strip_suffix('"'));
    let path = quoted.map_or_else(|| path.to_owned(), |path| path.replace("\"\"", "\""));
    Some(Entry { path, digest: Digest(digest.try_into().ok()?), bytes })
}

/// SHA-256 of a file.
pub(super) fn digest_of(path: &Path) -> Result<Digest, RuntimeError> {
    let digest = || {
        let (mut file, mut hash, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; 1 << 18]);
        loop {
            match file.read(&mut chunk) {
                Ok(0) => return Ok(Digest(hash.finalize().into())),
                Ok(read) => hash.update(chunk.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    };
    digest().map_err(|source| RuntimeError::io("read", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_those_without_digest_passed_over() {
        let abc = URL_SAFE_NO_PAD.encode(Digest::of(b"abc").0);
        let read = entry(&format!("\"a,\"\"b\"\".py\",sha256={abc},3")).unwrap();
        assert_eq!((read.path.as_str(), read.bytes), ("a,\"b\".py", 3));
        assert_eq!(read.digest, Digest::of(b"abc"));
        for line in ["", "x.dist-info/RECORD,,", "x.pyc,,12", "x.py,md5=00,1", "x.py,sha256=zz,1"] {
            assert!(entry(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_changed_file_is_named() {
        let site = tempfile::tempdir().unwrap();
        let info = site.path().join("a-1.dist-info");
        fs::create_dir(&info).unwrap();
        fs::write(site.path().join("a.py"), "abc").unwrap();
        let abc = URL_SAFE_NO_PAD.encode(Digest::of(b"abc").0);
        fs::write(info.join("RECORD"), format!("a.py,sha256={abc},3\na-1.dist-info/RECORD,,\n")).unwrap();
        let [record] = &records(site.path()).unwrap()[..] else { panic!("one record") };
        check(record, true).unwrap();
        for (content, by_size) in [(Some("abd"), false), (Some("abcd"), true), (None, true)] {
            match content {
                Some(content) => fs::write(site.path().join("a.py"), content).unwrap(),
                None => fs::remove_file(site.path().join("a.py")).unwrap(),
            }
            assert_eq!(check(record, false).is_err(), by_size, "{content:?}");
            let error = check(record, true).unwrap_err().to_string();
            assert!(error.contains("a.py"), "{error}");
        }
    }
}
