//! The files of a Unix-domain socket: its owner, and when they are removed.
//!
//! bind(2) makes the socket file and nothing removes it (unix(7)): a server that was killed leaves it behind, and the
//! next one cannot bind. To probe, unlink, bind and listen are four calls, between which another server may run. So the
//! owner of a path is the process that holds a lock on `PATH.lock`, from before the probe to after the last removal.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket as RawSocket, Type};

/// The exclusive right to listen on a path, held until it is dropped.
///
/// It is a lock of flock(2) on `PATH.lock`. The kernel releases it when the last descriptor of this open file is
/// closed, which a crash does too. A lock file that a crash left behind is thus one that the next server can lock.
#[derive(Debug)]
pub struct PathLock {
    path: PathBuf,
    /// Open, and locked, for as long as the path is owned.
    file: File,
}

impl PathLock {
    /// Takes the right to listen on `socket_path`, without waiting for it.
    ///
    /// # Errors
    /// `AddrInUse` if another server has it, in this process or another, and those of open(2) and flock(2).
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
            "the lock file {path:?} was replaced {ATTEMPTS} times while it was locked"
        )))
    }

    /// Locks an open file. `None` if the path does not name that file any more.
    fn lock(path: &Path, file: File) -> io::Result<Option<PathLock>> {
        if let Err(error) = flock(&file) {
            return Err(match error.kind() {
                // EWOULDBLOCK: another open file has the lock (flock(2)).
                io::ErrorKind::WouldBlock => io::ErrorKind::AddrInUse.into(),
                _ => io::Error::other(format!("cannot lock {path:?}: {error}")),
            });
        }
        // The last owner may have removed the file between our open(2) and flock(2). A lock on a file without a name
        // excludes no other server. The inode's number cannot be in use again: our descriptor keeps the inode.
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
        // The lock is held until `file` is closed, after this. A server that opened the file before finds that the path
        // does not name it, and tries again. The path names another file only if a person removed ours.
        let ours = Identity::of_file(&self.file);
        if ours.is_ok_and(|ours| Identity::of_path(&self.path).is_ok_and(|named| named == ours))
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("cannot remove the lock file {:?}: {error}", self.path);
        }
    }
}

/// Opens a lock file, or makes it. Only its owner may open it: any user who could, could lock it and keep the server
/// from starting.
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    // A link could lead to any file of this user. A FIFO would make open(2) wait for its other end.
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
                io::ErrorKind::PermissionDenied => " (it may be that of another user's server)",
                _ => "",
            };
            return Err(io::Error::other(format!(
                "cannot open the lock file {path:?}: {error}{hint}"
            )));
        }
        // It cannot be made: the same errors as those of bind(2) in this directory.
        Err(error) => return Err(error),
    };
    // A lock file is removed at the end, and what a person wrote is not.
    let found = file.metadata()?;
    if !found.is_file() || found.len() > 0 {
        return Err(io::Error::other(format!(
            "{path:?} is not a lock file of a server (move it away, or name another path)"
        )));
    }
    Ok(file)
}

/// Locks without waiting. Two open files of one process exclude each other too (flock(2)).
#[cfg(not(target_os = "solaris"))]
fn flock(file: &File) -> io::Result<()> {
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    Ok(rustix::fs::flock(file, operation)?)
}

/// Solaris has no flock(2): there the probe alone decides.
#[cfg(target_os = "solaris")]
fn flock(_: &File) -> io::Result<()> {
    Ok(())
}

/// Removes the socket file at `path` if no server listens on it. The caller holds the path's lock, so this is about
/// servers that take no lock: those of other programs. Only a connection attempt finds them, once they listen.
///
/// # Errors
/// `AddrInUse` if a server answers, `AlreadyExists` if it is not a socket, and those of the file system.
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
    // A blocking probe would wait for room in a full backlog (connect(2)).
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

/// The file that bind(2) made for a Unix-domain listener. Dropping it removes the file, if the path still names it, and
/// then gives up the path's lock.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Which file was made: another one under the same name is not removed.
    identity: Identity,
    /// Released last.
    _lock: PathLock,
}

impl SocketFile {
    /// The file that was bound just now, under this lock.
    ///
    /// # Errors
    /// Those of stat(2).
    pub fn remember(path: &Path, lock: PathLock) -> io::Result<SocketFile> {
        Ok(SocketFile {
            path: path.to_owned(),
            identity: Identity::of_path(path)?,
            _lock: lock,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the permissions. A client needs write permission on the file to connect (unix(7)). Bits beyond 0777 are
    /// ignored.
    ///
    /// # Errors
    /// Those of chmod(2).
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        // fchmod(2) on the socket's descriptor would not change the file: the descriptor is not one of this file.
        std::fs::set_permissions(&self.path, Permissions::from_mode(mode & 0o777))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A person may have removed ours, and a server without a lock may have bound the path since.
        if Identity::of_path(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("cannot remove the socket file {:?}: {error}", self.path);
        }
    }
}

/// Device and inode: what tells a file from another one that has its name later.
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

/// Bound on the attempts to lock a file that others replace. Each failed one means that an owner ended just then. Only a
/// file system whose inode numbers change could fail for ever.
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
    fn a_lock_file_that_a_crash_left_behind_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        File::create(lock_path(&path)).unwrap();
        let lock = PathLock::acquire(&path).unwrap();
        assert!(PathLock::acquire(&path).is_err());
        drop(lock);
        assert!(!lock_path(&path).exists());
    }

    /// Between open(2) and flock(2) the owner removes the file, and another server makes a new one.
    #[test]
    fn a_lock_on_a_file_that_the_path_does_not_name_is_given_up() {
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
            assert_eq!(lock_path.exists(), replaced, "another server's file");
            drop(PathLock::acquire(&path).unwrap());
        }
    }

    #[test]
    fn a_lock_file_that_a_person_replaced_is_not_removed() {
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

    /// Every order of open, lock, check, remove and close that four threads bring about.
    #[test]
    fn one_thread_at_a_time_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let owners = AtomicUsize::new(0);
        // Each thread tries until it has had the lock so often: how many attempts that takes is the scheduler's choice.
        let take_turns = || {
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
                scope.spawn(take_turns);
            }
        });
        assert!(!lock_path(&path).exists());
    }
}
