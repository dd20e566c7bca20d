//! The process that has the index: it answers questions, and embeds what the ledger has gained while nobody asks.

use std::io;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::{Timestamp, Zoned};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use super::embed::Embedder;
use super::error::SearchError;
use super::index::{self, Hit, Index};
use super::model;
use super::qdrant::{Qdrant, Settings};
use super::question;
use super::remembered::Remembering;
use super::store::{self, Opened};
use super::vectors::{Local, Vectors};
use super::when::TimeRange;
use super::wire::{self, Asked, By, Found, LONGEST, MOST, Match, Search, Status, Understood, Why};
use super::{glosses, last};
use crate::engine::Host;
use crate::fault::{Kind, Report};
use crate::ledger::{Filter, Ledger};
use crate::paths::Tree;
use crate::spec::{self, Ml};

/// How long nobody asks and nothing is to be done before it ends.
const IDLE: Duration = Duration::from_secs(60);

/// How long whoever connected may take to ask.
const ASKING: Duration = Duration::from_secs(5);

/// The credential by which systemd hands over the API key of a Qdrant server.
const API_KEY: &str = "qdrant-api-key";

/// What the unit has as its credential where that file is not there: systemd would not start it without.
const ABSENT: &str = "absent";

/// What the index and the model depend on. Where it changes, both are opened anew.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Basis {
    base: PathBuf,
    ml: Ml,
    /// The model's files: how large, and of when.
    files: Vec<Option<(u64, SystemTime)>>,
}

impl Basis {
    fn of(host: &Host) -> Result<Self, Report> {
        let spec = spec::load(&host.paths.config())?;
        let directory = model::directory(&spec);
        let seen = |name: &str| {
            let file = std::fs::metadata(directory.join(name)).ok()?;
            Some((file.len(), file.modified().ok()?))
        };
        let files = if spec.ml.enable {
            model::FILES.iter().map(|file| seen(file.name)).collect()
        } else {
            Vec::new()
        };
        Ok(Self { base: spec.btrfs.base_path, ml: spec.ml, files })
    }
}

/// The index, open, with what it was opened by.
struct Open {
    basis: Basis,
    index: Index<'static>,
    /// Why nothing is embedded.
    why: Option<String>,
}

impl Open {
    /// Why what is meant is not looked at: nothing is embedded, or the vectors cannot be had.
    fn why(&self) -> Option<&str> {
        self.why.as_deref().or_else(|| self.index.trouble())
    }
}

/// What answers.
pub struct Worker {
    host: Host,
    open: Option<Open>,
    /// Why the index was made anew.
    anew: Option<String>,
    /// The threads that compute, where that was settled.
    threads: Option<u16>,
}

impl Worker {
    /// Of a host. `threads` is how many compute in this process: where the host spec comes to ask for another number, the
    /// process ends.
    #[must_use]
    pub fn new(host: Host, threads: Option<u16>) -> Self {
        Self { host, open: None, anew: None, threads }
    }

    /// The index as the host spec has it now.
    fn opened(&mut self) -> Result<&mut Open, Report> {
        let basis = Basis::of(&self.host)?;
        let open = if let Some(open) = self.open.take().filter(|open| open.basis == basis) {
            open
        } else {
            let (open, opened) = open(basis)?;
            if let Opened::Anew(why) = opened {
                tracing::warn!("the index of the search is made anew: {why}");
                self.anew = Some(why);
            }
            open
        };
        Ok(self.open.insert(open))
    }

    /// Does something with the index. Where it turns out to be damaged, it is made anew, and the thing is done again.
    fn sound<T>(&mut self, f: impl Fn(&mut Open) -> Result<T, SearchError>) -> Result<T, Report> {
        let open = self.opened()?;
        match f(open) {
            Err(SearchError::Index { source, path, .. }) if store::is_damage(&source) => {
                tracing::warn!("the index of the search is damaged and made anew: {source}");
                self.anew = Some(source.to_string());
                self.open = None;
                store::remove(&path)?;
                Ok(f(self.opened()?)?)
            }
            other => Ok(other?),
        }
    }

    /// Answers.
    pub fn answer(&mut self, asked: Asked) -> Result<Value, Report> {
        match asked {
            Asked::Search(search) => self.search(&search).map(|found| json!(found)),
            Asked::Nearest(sentence) => {
                bounded(&sentence)?;
                self.sound(|open| open.index.nearest(&sentence)).map(|names| json!(names))
            }
            Asked::Status => self.status().map(|status| json!(status)),
        }
    }

    fn search(&mut self, search: &Search) -> Result<Found, Report> {
        bounded(&search.query)?;
        let mut found = self.sound(|open| {
            open.index.catch_up()?;
            let ledger = ledger_of(&open.basis.base);
            let known = open.index.known()?;
            let mut question =
                question::read(&search.query, &Zoned::now(), &|what| last::last(&ledger, what), &known);
            let given = |second: Option<i64>| second.and_then(|second| Timestamp::from_second(second).ok());
            question.range =
                question.range.and(TimeRange { since: given(search.since), until: given(search.until) });
            let about = question.operations.join(", ");
            let (hits, by) = open.index.search(&mut question, search.limit.clamp(1, MOST))?;
            let behind = open.index.behind()?;
            let why = open.why();
            let mut notes = Vec::new();
            if question.operations.is_empty() && !about.is_empty() {
                notes.push(format!("there is no such {about}; this is what comes nearest"));
            }
            if by != By::Time {
                notes.extend(why.iter().map(|why| format!("searched by words alone: {why}")));
            }
            if by != By::Time && why.is_none() && behind > 0 {
                notes
                    .push(format!("{behind} entries are found by their words alone until they are embedded"));
            }
            Ok(Found {
                understood: Understood::from(&question),
                by,
                notes,
                matches: matches(&ledger, &hits, search.explain)?,
            })
        })?;
        if let Some(why) = &self.anew {
            found.notes.push(format!("the index was made anew: {why}"));
        }
        Ok(found)
    }

    fn status(&mut self) -> Result<Status, Report> {
        let mut status = self.sound(|open| {
            open.index.catch_up()?;
            let (entries, behind) = open.index.count()?;
            Ok(Status {
                model: model::NAME.into(),
                directory: model::place(&open.basis.base, &open.basis.ml),
                loaded: open.why.is_none(),
                why: open.why().map(str::to_owned),
                entries,
                behind,
                anew: None,
            })
        })?;
        status.anew.clone_from(&self.anew);
        Ok(status)
    }

    /// Whether the host spec asks for what only another process can be: systemd starts it when somebody asks.
    fn is_outdated(&self) -> bool {
        let wanted = self.open.as_ref().map(|open| open.basis.ml.num_threads);
        wanted.zip(self.threads).is_some_and(|(wanted, threads)| wanted != threads)
    }

    /// After how long it is worth working again though nothing happened: vectors could not be given away.
    fn again(&self) -> Option<Duration> {
        self.open.as_ref().and_then(|open| open.index.again())
    }

    /// Takes over what the ledger has gained, and embeds some of it. Whether there is more to do.
    pub fn work(&mut self) -> Result<bool, Report> {
        self.sound(|open| {
            open.index.catch_up()?;
            Ok(open.index.embed_some()? > 0)
        })
    }
}

fn bounded(question: &str) -> Result<(), Report> {
    if question.len() > LONGEST {
        return Err(Report::new(Kind::Invalid, format!("the question is longer than {LONGEST} bytes")));
    }
    Ok(())
}

fn ledger_of(base: &Path) -> PathBuf {
    Tree::new(base).ledger()
}

fn open(basis: Basis) -> Result<(Open, Opened), Report> {
    let tree = Tree::new(&basis.base);
    let (embedder, why) = if basis.ml.enable {
        match Embedder::load(&model::place(&basis.base, &basis.ml), basis.ml.execution_provider) {
            Ok(embedder) => (Some(Remembering::new(embedder, Some(&tree.join("@cache")))), None),
            Err(error) => {
                tracing::warn!("nothing is embedded: {error}");
                (None, Some(Report::from(error).to_string()))
            }
        }
    } else {
        (None, Some("the host spec does not ask for more (ml.enable)".into()))
    };
    let path = index::path(&tree);
    let (index, opened) = Index::open_with(&path, &tree.ledger(), embedder, &glosses, vectors(&basis.ml))?;
    Ok((Open { basis, index, why }, opened))
}

/// Where the vectors are.
fn vectors(ml: &Ml) -> Box<dyn Vectors> {
    let Some(server) = &ml.qdrant else { return Box::new(Local::default()) };
    Box::new(Qdrant::new(Settings {
        url: server.url.clone(),
        collection: server.collection.clone(),
        key: server.api_key_file.as_deref().map(api_key),
        machine: std::fs::read_to_string("/etc/machine-id").unwrap_or_default(),
    }))
}

/// The API key of a file, as systemd handed it over or else as it can be read; empty where it cannot be.
fn api_key(file: &Path) -> String {
    let credential =
        std::env::var_os("CREDENTIALS_DIRECTORY").map(|directory| PathBuf::from(directory).join(API_KEY));
    let read = |path: &Path| std::fs::read_to_string(path).ok().filter(|key| key != ABSENT);
    let key = credential.and_then(|path| read(&path)).or_else(|| read(file)).unwrap_or_default();
    key.trim().to_owned()
}

/// The entries that were found. One that the ledger does not have any longer is left out.
fn matches(ledger: &Path, hits: &[Hit], explain: bool) -> Result<Vec<Match>, SearchError> {
    // Opened once for all of them.
    let found = Ledger::read(ledger, |ledger| {
        let mut found = Vec::with_capacity(hits.len());
        for &Hit { id, score, meaning, words, names } in hits {
            let filter = Filter { ids: Some(id..=id), ..Filter::default() };
            let why = explain.then_some(Why { score, meaning, words, names });
            found.extend(ledger.entries(&filter)?.pop().map(|entry| Match { entry, why }));
        }
        Ok(found)
    })?;
    Ok(found)
}

/// Answers on the sockets that systemd handed over until nobody has asked for a while.
pub fn serve(mut worker: Worker, listener: &UnixListener, bell: &UnixDatagram) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    bell.set_nonblocking(true)?;
    // What was appended while it did not run is waiting.
    let mut busy = true;
    let mut since = Instant::now();
    let mut tried = since;
    loop {
        let idle = IDLE.saturating_sub(since.elapsed());
        let again = worker.again().unwrap_or(IDLE);
        let wait = if busy { Duration::ZERO } else { idle.min(again) };
        let mut waiting = [PollFd::new(listener, PollFlags::IN), PollFd::new(bell, PollFlags::IN)];
        let wait = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        match poll(&mut waiting, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [asked, rung] = waiting.map(|one| !one.revents().is_empty());
        if rung {
            while bell.recv(&mut [0; 8]).is_ok() {}
        }
        if asked {
            while let Ok((stream, _)) = listener.accept() {
                if let Err(error) = converse(&mut worker, stream) {
                    tracing::warn!("whoever asked was not answered: {error}");
                }
            }
        }
        if asked || rung {
            (busy, since) = (true, Instant::now());
        } else if !busy && since.elapsed() >= IDLE {
            return Ok(());
        }
        busy |= tried.elapsed() >= again;
        if busy {
            busy = worker.work().unwrap_or_else(|report| {
                tracing::warn!("the index is not kept up: {report}");
                false
            });
            tried = Instant::now();
            if busy {
                since = tried;
            }
        }
        if worker.is_outdated() {
            return Ok(());
        }
    }
}

fn converse(worker: &mut Worker, mut stream: UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ASKING))?;
    stream.set_write_timeout(Some(ASKING))?;
    let line = wire::receive(&stream)?;
    let answer = serde_json::from_str(&line)
        .map_err(|error| Report::new(Kind::Invalid, format!("the question is not understood: {error}")))
        .and_then(|asked| worker.answer(asked));
    wire::send(&mut stream, &answer)
}
