//! The validator's state: SQLite with write-ahead log, one writer thread, several readers.
//!
//! Every arrow in the way of a submission is one method here, and every method is one transaction: a kill between any two
//! loses nothing. Everything can be looked at with the `sqlite3` shell while a validator runs; the schema is in
//! `schema/0001.sql`.
//!
//! | file | tables |
//! |---|---|
//! | [`submissions`] | `submissions`, `findings`, `cursors` |
//! | [`intake`] | `intake`, and with [`nonces`] `nonces` |
//! | [`families`] | `families` |
//! | [`duplicates`] | `fingerprints`, `fingerprint_keys`, `duplicate_reports` |
//! | [`holds`] | `holds` |
//! | [`cohorts`] | `cohorts`, `entrants` |
//! | [`runs`] | `runs`, `entrant_runs` |
//! | [`claims`] | who carries out which of the `runs`, and with `leases` `device_leases` |
//! | [`scores`] | `score_cards`, `showings` |
//! | [`manifests`] | `manifests` |
//! | [`payments`] | `allocations`, `receipts` |
//! | [`policy`] | `policy` |
//! | [`alarms`] | `alarms` |
//! | [`boards`] | read only: what may be published |
//! | [`artifacts`] | none: content-addressed files beside the database |
pub mod alarms;
pub mod artifacts;
pub mod boards;
pub mod claims;
#[cfg(test)]
mod claims_tests;
pub mod cohorts;
mod column;
#[cfg(test)]
mod conformance;
pub mod duplicates;
mod error;
pub mod families;
#[cfg(test)]
mod hold_tests;
pub mod holds;
pub mod intake;
pub mod leases;
pub mod manifests;
mod migrate;
pub mod nonces;
pub mod payments;
pub mod policy;
pub mod runs;
pub mod scores;
pub mod submissions;
#[cfg(test)]
mod tests;

pub use artifacts::FileArtifacts;
pub use error::StoreError;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Commands that may wait for the writer before whoever sends one more has to wait too.
const QUEUE: usize = 64;
/// Connections that read at the same time.
const READERS: usize = 4;
/// How long SQLite waits for another process's lock, such as that of a `sqlite3` shell.
const BUSY: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: mpsc::Sender<Job>,
    /// `None` in memory: there is one connection only, the writer's.
    readers: Option<Arc<Readers>>,
    /// Held as long as the store is open: nobody else has it to himself.
    _lock: Option<File>,
    /// Under which name runs are claimed.
    owner: String,
    /// The runs that this process carries out.
    live: claims::Live,
    #[cfg(test)]
    writes_left: std::sync::atomic::AtomicI64,
    #[cfg(test)]
    busy_writes: std::sync::atomic::AtomicI64,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Store {
    /// Opens a store, making the file and migrating its schema if needed. The folder must exist.
    ///
    /// # Errors
    /// `InUse` while another process has it open; `Newer` for a store of a newer program; `File` and `Sqlite`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let lock = lock(path)?;
        let mut db = Connection::open(path)?;
        // FULL: what was answered or is about to be sent must also survive a loss of power.
        db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        prepare(&db)?;
        migrate::migrate(&mut db)?;
        let readers = Readers { path: path.to_owned(), idle: Mutex::new(Vec::new()), permits: Semaphore::new(READERS) };
        Self::over(db, Some(Arc::new(readers)), Some(lock))
    }

    /// Opens a store for one of an operator's commands, whether or not a validator has it open. What such a command writes
    /// is one transaction that the validator's own see whole or not at all.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Newer` and `Older` where a running validator is another program than this one;
    /// those of [`Store::open`].
    pub fn beside(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        if !path.is_file() {
            return Err(StoreError::NotFound { what: "database", id: path.display().to_string() });
        }
        match Self::open(path) {
            Err(StoreError::InUse(_)) => {}
            opened => return opened,
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        prepare(&db)?;
        db.execute_batch("PRAGMA synchronous = FULL;")?;
        migrate::check(&db)?;
        let readers = Readers { path: path.to_owned(), idle: Mutex::new(Vec::new()), permits: Semaphore::new(READERS) };
        Self::over(db, Some(Arc::new(readers)), None)
    }

    /// A store that is gone when its last clone is: for tests, examples and one-shot commands.
    ///
    /// # Errors
    /// `Sqlite`, when memory runs out.
    pub fn in_memory() -> Result<Self, StoreError> {
        let mut db = Connection::open_in_memory()?;
        prepare(&db)?;
        migrate::migrate(&mut db)?;
        Self::over(db, None, None)
    }

    fn over(db: Connection, readers: Option<Arc<Readers>>, lock: Option<File>) -> Result<Self, StoreError> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|error| StoreError::Random(error.to_string()))?;
        let sole = lock.is_some() || readers.is_none();
        let owner = format!("{}{}", if sole { claims::SOLE } else { "one-" }, hex::encode(name));
        Ok(Self(Arc::new(Inner {
            writer: spawn_writer(db)?,
            readers,
            _lock: lock,
            owner,
            live: claims::Live::default(),
            #[cfg(test)]
            writes_left: std::sync::atomic::AtomicI64::new(i64::MAX),
            #[cfg(test)]
            busy_writes: std::sync::atomic::AtomicI64::new(0),
        })))
    }

    fn owner(&self) -> &str {
        &self.0.owner
    }

    fn live(&self) -> claims::Live {
        Arc::clone(&self.0.live)
    }

    /// Lets this many transactions happen and then no more, as if the process had been killed.
    #[cfg(test)]
    pub(crate) fn die_after(&self, writes: i64) {
        self.0.writes_left.store(writes, std::sync::atomic::Ordering::SeqCst);
    }

    /// Lets this many transactions fail, as if another process had the database.
    #[cfg(test)]
    pub(crate) fn busy_for(&self, writes: i64) {
        self.0.busy_writes.store(writes, std::sync::atomic::Ordering::SeqCst);
    }

    /// One transaction that may write. Once it is queued it happens, even if the future is dropped.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        #[cfg(test)]
        if self.0.writes_left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) <= 0 {
            return Err(StoreError::Closed);
        }
        #[cfg(test)]
        if self.0.busy_writes.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) > 0 {
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(busy, None).into());
        }
        self.send(TransactionBehavior::Immediate, work).await
    }

    /// One transaction that only reads: a consistent snapshot.
    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let Some(readers) = &self.0.readers else {
            return self.send(TransactionBehavior::Deferred, work).await;
        };
        let _permit = readers.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(readers);
        tokio::task::spawn_blocking(move || readers.run(work)).await.map_err(|_| StoreError::Closed)?
    }

    async fn send<T, F>(&self, behavior: TransactionBehavior, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            // Whoever asked may be gone; the work is done all the same.
            drop(reply.send(in_transaction(db, behavior, work)));
        });
        self.0.writer.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Readers {
    fn run<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut db = match idle {
            Some(db) => db,
            None => self.open()?,
        };
        let outcome = in_transaction(&mut db, TransactionBehavior::Deferred, work);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS {
            idle.push(db);
        }
        outcome
    }

    fn open(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags)?;
        db.busy_timeout(BUSY)?;
        Ok(db)
    }
}

fn in_transaction<T>(
    db: &mut Connection,
    behavior: TransactionBehavior,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = db.transaction_with_behavior(behavior)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn prepare(db: &Connection) -> Result<(), StoreError> {
    db.busy_timeout(BUSY)?;
    db.execute_batch("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;")?;
    Ok(())
}

/// The thread ends when the last clone of the store is gone and the queue is empty.
fn spawn_writer(mut db: Connection) -> Result<mpsc::Sender<Job>, StoreError> {
    let (writer, mut jobs) = mpsc::channel::<Job>(QUEUE);
    let work = move || {
        while let Some(job) = jobs.blocking_recv() {
            job(&mut db);
        }
    };
    let spawned = thread::Builder::new().name("prism-store".into()).spawn(work);
    spawned.map_err(|source| StoreError::File { path: "prism-store thread".into(), source })?;
    Ok(writer)
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let failed = |source| StoreError::File { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path)),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
