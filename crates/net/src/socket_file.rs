//! The socket file of a Unix-domain listener and its lock file: the owner of a path, and the removal of both files.
//!
//! bind(2) creates the socket file, and the kernel never removes it (unix(7)). A server that is killed leaves its file
//! behind, and then the next server cannot bind. Replacing a stale file takes four calls: probe, unlink, bind, listen.
//! Another server may run between them. So the owner of a path is the server that holds a lock on `PATH.lock`. It holds
//! the lock from before the probe until it has removed the socket file.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket as RawSocket, Type};

/// The exclusive right to listen on a path. Dropping it gives up the right.
///
/// It is a lock of flock(2) on `PATH.lock`. The kernel releases the lock when the last descriptor of the open file is
/// closed. A crash closes it too, so the next server can lock the file that a crash left behind.
#[derive(Debug)]
pub struct PathLock {
    /// The path of the lock file.
    path: PathBuf,
    /// The lock file. It stays open and locked for as long as the server owns the path.
    file: File,
}

impl PathLock {
    /// Takes the right to listen on `socket_path`. Does not wait for it.
    ///
    /// # Errors
    /// `AddrInUse` if another server has the right, in this process or another one. An error if `PATH.lock` is not a
    /// lock file, and the errors of open(2) and flock(2).
    pub fn acquire(socket_path: &Path) -> io::Result<PathLock> {
        let mut path = socket_path.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..ATTEMPTS {
            let file = open(&path)?;
            if let Some(lock) = PathLock::lock(&path, file)? {
                return Ok(lock);
            }
        }
        Err(io::Error::other(format!(
            "cannot lock {path:?}: the file was replaced during each of {ATTEMPTS} attempts"
        )))
    }

    /// Locks an open file. Returns `None` if the path does not name this file any more.
    fn lock(path: &Path, file: File) -> io::Result<Option<PathLock>> {
        if let Err(error) = flock(&file) {
            return Err(match error.kind() {
                // EWOULDBLOCK: another open file has the lock (flock(2)).
                io::ErrorKind::WouldBlock => io::ErrorKind::AddrInUse.into(),
                _ => io::Error::other(format!("cannot lock {path:?}: {error}")),
            });
        }
        // The last owner may have removed the file between our open(2) and our flock(2). A lock on a file without a
        // name excludes no other server. No other file can have the same inode number, because our descriptor keeps the
        // inode in use.
        match Identity::of_path(path) {
            Ok(named) if named == Identity::of_file(&file)? => {
                let path = path.to_owned();
                Ok(Some(PathLock { path, file }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // The lock is held until `file` is closed, after this function. A server that has already opened the file then
        // finds that the path does not name it, and tries again. The path names another file only if a user removed
        // ours.
        let ours = Identity::of_file(&self.file);
        if ours.is_ok_and(|ours| Identity::of_path(&self.path).is_ok_and(|named| named == ours))
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("cannot remove the lock file {:?}: {error}", self.path);
        }
    }
}

/// Opens or creates a lock file. Its mode allows only its owner to open it. Otherwise any user could lock it and so
/// prevent the server from starting.
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    // `NOFOLLOW`: a symbolic link could name any file of this user. `NONBLOCK`: an open(2) of a FIFO would wait for its
    // other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if path.symlink_metadata().is_ok() => {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => " (it may belong to the server of another user)",
                _ => "",
            };
            return Err(io::Error::other(format!(
                "cannot open the lock file {path:?}: {error}{hint}"
            )));
        }
        // The file cannot be created. bind(2) would fail in this directory with the same error.
        Err(error) => return Err(error),
    };
    // A lock file is an empty regular file. `PathLock` will remove it, so it must not be any other file of a user.
    let found = file.metadata()?;
    if !found.is_file() || found.len() > 0 {
        return Err(io::Error::other(format!(
            "{path:?} is not a lock file (move it away, or use another path)"
        )));
    }
    Ok(file)
}

/// Locks a file without waiting. The lock also excludes other open files of the same process (flock(2)).
#[cfg(not(target_os = "solaris"))]
fn flock(file: &File) -> io::Result<()> {
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    Ok(rustix::fs::flock(file, operation)?)
}

/// Does nothing: Solaris has no flock(2). There, only the probe finds another server.
#[cfg(target_os = "solaris")]
fn flock(_: &File) -> io::Result<()> {
    Ok(())
}

/// Removes the socket file at `path` if no server listens on it.
///
/// The caller holds the lock of the path. So only a server of another program, which takes no lock, can own the file.
/// Only an attempt to connect can find such a server, and only after its listen(2).
///
/// # Errors
/// `AddrInUse` if a server answers, `AlreadyExists` if the file is not a socket, and the errors of the file system.
pub(crate) fn remove_if_stale(path: &Path, address: &socket2::SockAddr) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(_) => {}
    }
    let probe = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    // A blocking connect(2) would wait while the backlog is full.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            log::info!("replacing the socket file {path:?}: no server listens on it");
            std::fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The socket file that bind(2) created for a Unix-domain listener. Dropping it removes the file, if the path still
/// names this file, and then releases the lock of the path.
#[derive(Debug)]
pub struct SocketFile {
    /// The path of the socket file.
    path: PathBuf,
    /// The identity of the file that was created. Another file with the same name is not removed.
    identity: Identity,
    /// The lock of the path. It is released last.
    _lock: PathLock,
}

impl SocketFile {
    /// Records the socket file that the caller has just bound at `path`. `lock` is the lock of this path.
    ///
    /// # Errors
    /// The errors of stat(2).
    pub fn remember(path: &Path, lock: PathLock) -> io::Result<SocketFile> {
        Ok(SocketFile {
            path: path.to_owned(),
            identity: Identity::of_path(path)?,
            _lock: lock,
        })
    }

    /// Returns the path of the socket file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the permissions of the file, 0 to 0o777. Higher bits are ignored. A client needs write permission to
    /// connect (unix(7)).
    ///
    /// # Errors
    /// The errors of chmod(2).
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        // fchmod(2) on the socket's descriptor would not change the file: that descriptor belongs to the socket, not to
        // the file.
        std::fs::set_permissions(&self.path, Permissions::from_mode(mode & 0o777))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A user may have removed our file, and then a server that takes no lock may have bound the path.
        if Identity::of_path(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("cannot remove the socket file {:?}: {error}", self.path);
        }
    }
}

/// The identity of a file: its device and inode. A later file with the same name has another identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    /// `st_dev` (stat(2)).
    device: u64,
    /// `st_ino` (stat(2)).
    inode: u64,
}

impl Identity {
    fn of_path(path: &Path) -> io::Result<Identity> {
        Ok(Identity::of(&path.symlink_metadata()?))
    }

    fn of_file(file: &File) -> io::Result<Identity> {
        Ok(Identity::of(&file.metadata()?))
    }

    fn of(found: &std::fs::Metadata) -> Identity {
        Identity {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

/// The most attempts to lock a file. An attempt fails if an owner removed the file at the same moment, which is rare.
/// The limit is for a file system whose inode numbers change: there, every attempt would fail.
const ATTEMPTS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn lock_path(path: &Path) -> PathBuf {
        path.with_extension("sock.lock")
    }

    #[test]
    fn a_lock_excludes_others_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let lock = PathLock::acquire(&path).unwrap();
        let refused = PathLock::acquire(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(lock);
        assert!(!lock_path(&path).exists());
        PathLock::acquire(&path).unwrap();
    }

    #[test]
    fn a_lock_file_that_a_crash_left_behind_can_be_locked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        File::create(lock_path(&path)).unwrap();
        let lock = PathLock::acquire(&path).unwrap();
        assert!(PathLock::acquire(&path).is_err());
        drop(lock);
        assert!(!lock_path(&path).exists());
    }

    /// Between open(2) and flock(2), the owner removes the file. In the second case, another server creates a new one.
    #[test]
    fn a_lock_on_a_removed_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let lock_path = lock_path(&path);
        for replaced in [false, true] {
            let file = open(&lock_path).unwrap();
            std::fs::remove_file(&lock_path).unwrap();
            if replaced {
                File::create(&lock_path).unwrap();
            }
            assert!(PathLock::lock(&lock_path, file).unwrap().is_none());
            assert_eq!(
                lock_path.exists(),
                replaced,
                "only the file of another server may exist"
            );
            drop(PathLock::acquire(&path).unwrap());
        }
    }

    #[test]
    fn a_lock_file_that_a_user_replaced_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let first = PathLock::acquire(&path).unwrap();
        std::fs::remove_file(lock_path(&path)).unwrap();
        let second = PathLock::acquire(&path).unwrap();
        drop(first);
        assert!(lock_path(&path).exists());
        drop(second);
        assert!(!lock_path(&path).exists());
    }

    #[test]
    fn a_file_that_is_not_a_lock_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let lock_path = lock_path(&path);
        let refused = || PathLock::acquire(&path).unwrap_err().to_string();
        std::fs::write(&lock_path, "precious").unwrap();
        assert!(refused().contains("is not a lock file"), "{}", refused());
        assert_eq!(std::fs::read_to_string(&lock_path).unwrap(), "precious");
        std::fs::remove_file(&lock_path).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &lock_path).unwrap();
        assert!(
            refused().contains("cannot open the lock file"),
            "{}",
            refused()
        );
        assert!(!folder.path().join("elsewhere").exists());
    }

    /// Four threads lock the path again and again, so open, lock, check, remove and close happen in many orders.
    #[test]
    fn one_thread_at_a_time_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let owners = AtomicUsize::new(0);
        // Each thread tries until it has had the lock 250 times. The scheduler decides how many attempts this takes.
        let lock_250_times = || {
            for _ in 0..250 {
                let lock = loop {
                    match PathLock::acquire(&path) {
                        Ok(lock) => break lock,
                        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                            thread::yield_now();
                        }
                        Err(error) => panic!("{error}"),
                    }
                };
                assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0);
                thread::yield_now();
                owners.fetch_sub(1, Ordering::SeqCst);
                drop(lock);
            }
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(lock_250_times);
            }
        });
        assert!(!lock_path(&path).exists());
    }
}
