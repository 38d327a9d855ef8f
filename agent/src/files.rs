//! Files that people name: read whole, within a bound, and only if they are files.
//!
//! A FIFO or a device would hang or never end, so nothing is opened blocking (open(2), `O_NONBLOCK`).

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a regular file.
///
/// # Errors
/// It cannot be read, is something else than a file, or is longer than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file (a FIFO, device, socket or directory)"));
    }
    let mut bytes = Vec::new();
    // One more byte tells a file that is too long from one that just fits.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_within_the_bound_is_read() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let (file, fifo) = (dir.path().join("file"), dir.path().join("fifo"));
        std::fs::write(&file, "12345")?;
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU)?;
        assert_eq!(read(&file, 5)?, b"12345");
        let refused = |path: &Path, most| read(path, most).map_err(|error| error.to_string()).err();
        assert!(refused(&file, 4).is_some_and(|text| text.contains("longer than 4 bytes")));
        assert!(refused(&fifo, 4).is_some_and(|text| text.contains("FIFO")));
        assert!(refused(dir.path(), 4).is_some_and(|text| text.contains("no regular file")));
        Ok(())
    }
}
