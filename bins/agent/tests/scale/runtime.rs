//! Commands without containers. What one prints, and when, follows from a seed, its attempt and its
//! node; that it was started is a file, so it goes on while the agent that started it is dead.

use crate::dice::Dice;
use async_trait::async_trait;
use kiln::{
    BoxName, BoxSpec, BuildId, Command, Error, ErrorKind, NodeId, Result, StepCx, StepKey,
    port::{BoxHandle, Exit, Runtime, Stream},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const OP: &str = "Runtime::exec";
/// How much is printed at once at most.
const PIECE: u64 = 6_000;

/// What a command is to do, as it stands in a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) bytes: u64,
    pub(crate) millis: u64,
    pub(crate) exit: i64,
}

impl Task {
    pub(crate) fn command(self) -> Command {
        Command::new([
            "print".into(),
            self.bytes.to_string(),
            self.millis.to_string(),
            self.exit.to_string(),
        ])
    }

    pub(crate) fn read(command: &Command) -> Option<Self> {
        let [_, bytes, millis, exit] = &command.argv[..] else { return None };
        Some(Self {
            bytes: bytes.parse().ok()?,
            millis: millis.parse().ok()?,
            exit: exit.parse().ok()?,
        })
    }

    /// All that one attempt on one node prints. The last line is the hash of what came before.
    pub(crate) fn printing(self, seed: u64, key: &StepKey, node: &NodeId) -> Printing {
        let mixed = Sha256::digest(format!("{seed} {key} {node}"));
        let mut dice = Dice::new(u64::from_be_bytes(mixed[..8].try_into().unwrap()));
        let (mut pieces, mut left) = (Vec::new(), self.bytes);
        while left > 0 {
            let mut text = String::new();
            let many = dice.between(1, PIECE).min(left);
            while (text.len() as u64) < many {
                let line = format!("{:x} ", dice.below(u64::MAX));
                text.push_str(if dice.one_in(5) { "\n" } else { &line });
            }
            text.truncate(many as usize);
            let stream = if dice.one_in(3) { Stream::Stderr } else { Stream::Stdout };
            pieces.push((stream, text.into_bytes()));
            left -= many;
        }
        let hash = hash(&pieces);
        pieces.push((Stream::Stdout, format!("\nsha256 {hash}\n").into_bytes()));
        Printing { pieces, hash, time: Duration::from_millis(self.millis) }
    }
}

/// What a command prints, in pieces that come at even intervals.
#[derive(Debug)]
pub(crate) struct Printing {
    pub(crate) pieces: Vec<(Stream, Vec<u8>)>,
    pub(crate) hash: String,
    time: Duration,
}

impl Printing {
    /// All that goes to a stream.
    pub(crate) fn of(&self, stream: Stream) -> Vec<u8> {
        self.pieces.iter().filter(|(s, _)| *s == stream).flat_map(|(_, b)| b.clone()).collect()
    }
}

/// The hash of standard output followed by standard error: which of them came first is not kept
/// to the byte, since each is redacted by itself.
fn hash(pieces: &[(Stream, Vec<u8>)]) -> String {
    let mut hash = Sha256::new();
    for stream in [Stream::Stdout, Stream::Stderr] {
        for (_, bytes) in pieces.iter().filter(|(s, _)| *s == stream) {
            hash.update(bytes);
        }
    }
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A line in the ledger of a node: a command was begun or gone on with, or came to its end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(crate) key: StepKey,
    /// The hash that it computed, at its end.
    pub(crate) hash: Option<String>,
}

/// The ledger of a node, which no agent reads.
pub(crate) fn ledger(dir: &Path) -> PathBuf {
    dir.join("ledger")
}

#[derive(Debug)]
pub(crate) struct Paced {
    pub(crate) node: NodeId,
    pub(crate) seed: u64,
    pub(crate) dir: PathBuf,
}

impl Paced {
    fn commands(&self) -> PathBuf {
        self.dir.join("commands")
    }

    fn file(&self, key: &StepKey) -> PathBuf {
        self.commands().join(format!("{}.{}.{}", key.build, key.step, key.attempt))
    }

    fn note(&self, key: &StepKey, hash: Option<String>) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(&Noted { key: key.clone(), hash })?;
        line.push(b'\n');
        // One write: a kill leaves all of the line or nothing.
        OpenOptions::new().create(true).append(true).open(ledger(&self.dir))?.write_all(&line)
    }

    /// When the command of an attempt was started: now, unless it was.
    fn started(&self, key: &StepKey) -> std::io::Result<SystemTime> {
        fs::create_dir_all(self.commands())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        write!(file, "{}", now.as_millis())?;
        match file.persist_noclobber(self.file(key)) {
            Err(e) if e.error.kind() != std::io::ErrorKind::AlreadyExists => return Err(e.error),
            _ => {}
        }
        let millis = fs::read_to_string(self.file(key))?.parse().map_err(std::io::Error::other)?;
        Ok(UNIX_EPOCH + Duration::from_millis(millis))
    }
}

fn broken(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, OP, "the files of the test cannot be used").source(e)
}

#[async_trait]
impl Runtime for Paced {
    async fn start(&self, cx: &StepCx, name: &BoxName, _: &BoxSpec) -> Result<BoxHandle> {
        Ok(BoxHandle(format!("{}/{name}", cx.key.build)))
    }

    async fn exec(&self, cx: &StepCx, _: &BoxHandle, command: &Command) -> Result<Exit> {
        let Some(task) = Task::read(command) else {
            return Err(Error::new(ErrorKind::Failed, OP, "no such program").exit_code(127));
        };
        self.note(&cx.key, None).map_err(broken)?;
        let started = self.started(&cx.key).map_err(broken)?;
        let printing = task.printing(self.seed, &cx.key, &self.node);
        let follow = async {
            let many = printing.pieces.len() as u32;
            for (i, (stream, bytes)) in (1..).zip(&printing.pieces) {
                let due = started + printing.time * i / many;
                if let Ok(wait) = due.duration_since(SystemTime::now()) {
                    tokio::time::sleep(wait).await;
                }
                cx.log.write(*stream, bytes).await;
            }
        };
        if cx.cancel.race(follow).await.is_err() {
            return Err(cx.cancelled(OP));
        }
        self.note(&cx.key, Some(printing.hash)).map_err(broken)?;
        Ok(Exit::new(task.exit))
    }

    async fn has(&self, key: &StepKey) -> Result<bool> {
        Ok(self.file(key).exists())
    }

    async fn sweep(&self, build: &BuildId) -> Result<()> {
        let ours = format!("{build}.");
        for entry in fs::read_dir(self.commands()).into_iter().flatten() {
            let entry = entry.map_err(broken)?;
            if entry.file_name().to_string_lossy().starts_with(&ours) {
                fs::remove_file(entry.path()).map_err(broken)?;
            }
        }
        Ok(())
    }
}
