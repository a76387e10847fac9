//! A file of a run folder as it lies on the disk: plain, or compressed by gzip under the same name and `.gz`.

use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Where the file `name` of a run is in its `folder`; none if it is there in neither form.
pub fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    [name.to_owned(), format!("{name}.gz")]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| path.is_file())
}

/// What `path` holds.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let file = File::open(path)?;
    Ok(if is_compressed(path) {
        Box::new(MultiGzDecoder::new(BufReader::new(file)))
    } else {
        Box::new(file)
    })
}

/// Bytes of what `path` holds; a compressed file does not say, and is read through.
pub(super) fn length(path: &Path) -> io::Result<u64> {
    if is_compressed(path) {
        io::copy(&mut open(path)?, &mut io::sink())
    } else {
        Ok(path.metadata()?.len())
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}
