//! The digest of a run: equal for two runs if and only if they gave the same results.

use super::{FILES, FolderError, MANIFEST, RunFolder, stored};
use sha2::{Digest, Sha256};
use std::io;
use std::path::Path;

/// Hex digits of a digest that are enough to print.
pub const DIGEST_SHORT: usize = 12;

/// Keys of the manifest that a digest leaves out: they say when, by whom and from what a run was made,
/// not what came of it.
pub const UNDIGESTED: [&str; 5] = ["wall", "command", "commit", "version", "inputs"];

impl RunFolder {
    /// SHA-256 over every file of the folder, without the [`UNDIGESTED`] keys of the manifest, as 64 hex
    /// digits; the first [`DIGEST_SHORT`] are enough to print.
    ///
    /// Each file enters as its name, its length and its bytes.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn digest(&self) -> Result<String, FolderError> {
        let mut hash = Sha256::new();
        for name in FILES {
            if name == MANIFEST {
                let mut manifest = serde_json::to_value(self.manifest()).expect("plain data");
                let keys = manifest.as_object_mut().expect("a manifest is an object");
                for key in UNDIGESTED {
                    keys.shift_remove(key);
                }
                let text = crate::canonical::json(&manifest);
                frame(&mut hash, name, text.len() as u64);
                hash.update(text);
            } else if let Some(path) = stored::find(self.path(), name) {
                add_file(&mut hash, name, &path).map_err(FolderError::io("read", &path))?;
            }
        }
        Ok(crate::canonical::hex(&hash.finalize()))
    }
}

fn frame(hash: &mut Sha256, name: &str, len: u64) {
    hash.update(name);
    hash.update([0]);
    hash.update(len.to_le_bytes());
}

fn add_file(hash: &mut Sha256, name: &str, path: &Path) -> io::Result<()> {
    frame(hash, name, stored::length(path)?);
    io::copy(&mut stored::open(path)?, hash)?;
    Ok(())
}
