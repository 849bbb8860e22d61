//! The file that a Unix-domain socket leaves in the file system: whose it is, and when it goes.
//!
//! `bind` makes it and nothing removes it. A server that was killed leaves it behind, and the next cannot bind.

use std::io;
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket as RawSocket, Type};

/// Removes the socket file at `path` if no server listens on it. Only a connection attempt can tell.
///
/// # Errors
/// `AddrInUse` if a server answers, `AlreadyExists` if it is not a socket, and those of the file system.
pub(crate) fn remove_if_stale(path: &Path, address: &socket2::SockAddr) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(_) => {}
    }
    let probe = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    // Nonblocking, or a server whose backlog is full would hold us up.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            log::info!("replacing the socket file {path:?}, which no server listens on");
            std::fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file that `bind` made for a Unix-domain listener, removed on drop if it is still that file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// The file that was bound just now.
    ///
    /// # Errors
    /// Those of stat(2).
    pub(crate) fn remember(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile {
            path: path.to_owned(),
            identity: Self::identity(path)?,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        let found = path.symlink_metadata()?;
        Ok((found.dev(), found.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed ours and put his own there: that one is not ours to remove.
        if Self::identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("cannot remove the socket file {:?}: {error}", self.path);
        }
    }
}
