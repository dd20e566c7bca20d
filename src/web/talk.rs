//! A conversation: a sentence in, messages out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Sender};
use tokio::time::timeout;

use super::message::Message;
use super::serve::Shared;
use crate::dbus::{Daemon, Voice};
use crate::fault::{Kind, Report};
use crate::grammar::{Grammar, Reading, Suggestion, Unclear};
use crate::ops::confirm::{Confirmations, PATIENCE};
use crate::ops::{DRY_RUN, Effect, Operation, Registry};
use crate::tokens::Token;

/// The longest sentence, in bytes.
pub const LONGEST: usize = 4096;

/// The largest answer that is sent as data, in bytes of its JSON.
const LARGEST: usize = 2 << 20;

/// What can be said first.
const OPENERS: [&str; 6] = [
    "show me all containers",
    "what was changed today?",
    "status of systemd services",
    "verify the ledger",
    "list snapshots",
    "help",
];

/// The argument by which an operation goes over what stands in its way.
const FORCE: &str = "force";

/// How many phrases are offered where a sentence was not understood, and how long a host may take to say which.
const OFFERED: usize = 3;
const SOON: Duration = Duration::from_secs(2);

/// Whoever listened went away.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone;

/// One side of a conversation.
pub struct Talk {
    grammar: Arc<Grammar>,
    registry: Registry,
    daemon: Arc<Daemon>,
    calls: Arc<Semaphore>,
    voice: Voice,
    out: Sender<Message>,
    waiting: Confirmations,
}

impl Talk {
    /// A conversation with somebody, whose answers go to `out`.
    pub fn new(shared: &Shared, voice: Voice, out: Sender<Message>) -> Self {
        let (registry, waiting) = (Registry::default(), Confirmations::default());
        let (grammar, daemon) = (Arc::clone(&shared.grammar), Arc::clone(&shared.daemon));
        Self { grammar, registry, daemon, calls: Arc::clone(&shared.calls), voice, out, waiting }
    }

    /// The first message.
    pub async fn greet(&self, token: &Token, host: &str) -> Result<(), Gone> {
        let content = format!("Signed in as {}, to {}, on {host}.", token.user, token.role);
        let hello = Message::new("hello", content)
            .with("user", token.user.as_str())
            .with("role", token.role.to_string())
            .with("host", host)
            .with("suggestions", json!(OPENERS));
        self.say(hello).await
    }

    /// Answers one sentence, the `request`th of the connection.
    pub async fn hear(&mut self, sentence: &str, request: u64) -> Result<(), Gone> {
        let sentence = sentence.trim();
        if let Some(word) = sentence.strip_prefix("yes ") {
            return self.confirmed(word.trim(), request).await;
        }
        if let Some(word) = sentence.strip_prefix("no ")
            && self.waiting.take(word.trim()).is_some()
        {
            let kept = Message::new("assistant", "Nothing was done.").with("data", Value::Null);
            return self.say(kept.answering(request)).await;
        }
        let grammar = Arc::clone(&self.grammar);
        match grammar.read(sentence) {
            Reading::Call { operation, arguments } if operation.effect == Effect::Destroy => {
                let Ok(operation) = self.registry.find(operation.name).copied() else { return Ok(()) };
                self.ask(&operation, arguments, request).await
            }
            Reading::Call { operation, arguments } => self.run(operation, arguments, request).await,
            Reading::Help => self.say(self.help().answering(request)).await,
            Reading::Tools => self.say(self.tools().answering(request)).await,
            Reading::Nothing(unclear) => {
                let meant = self.meant(sentence).await;
                let near =
                    meant.iter().filter_map(|name| grammar.offered().find(|o| o.operation.name == name));
                self.say(explained(&unclear, near).answering(request)).await
            }
        }
    }

    /// The operations that a sentence may be about by what it means, where the host can tell, and does so soon.
    async fn meant(&self, sentence: &str) -> Vec<String> {
        let Voice::Token { secret, .. } = &self.voice else { return Vec::new() };
        let asked = async {
            let _turn = self.calls.acquire().await;
            self.daemon.suggest(secret, sentence).await
        };
        timeout(SOON, asked).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    async fn say(&self, message: Message) -> Result<(), Gone> {
        self.out.send(message).await.map_err(|_| Gone)
    }

    fn help(&self) -> Message {
        let mut content = String::from("Say what you want in a sentence. For example:\n");
        for Suggestion { example, operation } in self.grammar.offered() {
            content.push_str(&format!("\n  {example}\n      {}", operation.summary));
        }
        content.push_str("\n\nEvery command of op-dbus is understood as it is, too.");
        Message::new("assistant", content).with("data", Value::Null).with("suggestions", json!(OPENERS))
    }

    fn tools(&self) -> Message {
        let all: Vec<_> = self.grammar.offered().collect();
        let names: Vec<&str> = all.iter().map(|offered| offered.operation.name).collect();
        let rows: Vec<Value> = all
            .iter()
            .map(|offered| {
                let operation = offered.operation;
                json!({
                    "tool": operation.name,
                    "summary": operation.summary,
                    "effect": operation.effect,
                    "privilege": operation.privilege,
                    "example": offered.example,
                })
            })
            .collect();
        Message::new("assistant", format!("Available tools: {}", names.join(", "))).with("data", rows)
    }

    /// What would be destroyed, and the word that has it done.
    async fn ask(&mut self, operation: &Operation, mut arguments: Value, request: u64) -> Result<(), Gone> {
        let mut changes = Value::Null;
        if operation.rehearses() {
            let mut rehearsed = self.rehearse(operation, &arguments).await;
            // What stands in the way of it may be gone over by who says so: that is then shown, and asked about.
            if rehearsed.as_ref().is_err_and(|report| report.kind == Kind::Conflict)
                && operation.describe().arguments["properties"][FORCE].is_object()
                && arguments[FORCE] != true
            {
                let mut forced = arguments.clone();
                forced[FORCE] = true.into();
                if let Ok(planned) = self.rehearse(operation, &forced).await {
                    (rehearsed, arguments) = (Ok(planned), forced);
                }
            }
            match rehearsed {
                Ok(planned) => changes = planned,
                // What would be refused is not asked about.
                Err(report) => {
                    let command = self.grammar.command(operation, &arguments);
                    return self.say(failed(&report, operation, command.as_deref()).answering(request)).await;
                }
            }
        }
        let command = self.grammar.command(operation, &arguments);
        let Some(word) = self.waiting.ask(operation.name, arguments) else {
            let report = Report::new(Kind::Failed, "the host has no random numbers");
            return self.say(failed(&report, operation, command.as_deref()).answering(request)).await;
        };
        let content = format!(
            "{}. This cannot be undone. Say \"yes {word}\" within {} seconds to have it done.",
            operation.summary,
            PATIENCE.as_secs()
        );
        let question = Message::new("confirm", content)
            .of_call(operation.name, command.as_deref())
            .with("changes", changes)
            .with("confirmation", word);
        self.say(question.answering(request)).await
    }

    /// What an operation says it would change.
    async fn rehearse(&self, operation: &Operation, arguments: &Value) -> Result<Value, Report> {
        let mut rehearsed = arguments.clone();
        rehearsed[DRY_RUN] = true.into();
        let _turn = self.calls.acquire().await;
        let mut planned = self.voice.call(&self.daemon, operation.name, &rehearsed, None).await?;
        Ok(planned["changes"].take())
    }

    async fn confirmed(&mut self, word: &str, request: u64) -> Result<(), Gone> {
        let Some(waiting) = self.waiting.take(word) else {
            let nothing = Message::new(
                "unclear",
                "Nothing waits for that confirmation, or it came too late. Nothing was done.",
            )
            .with("understood", "yes")
            .with("unknown", word.chars().take(40).collect::<String>())
            .with("suggestions", json!([]));
            return self.say(nothing.answering(request)).await;
        };
        let Ok(operation) = self.registry.find(waiting.operation).copied() else { return Ok(()) };
        self.run(&operation, waiting.arguments, request).await
    }

    async fn run(&self, operation: &Operation, arguments: Value, request: u64) -> Result<(), Gone> {
        let command = self.grammar.command(operation, &arguments);
        let shown = command.clone().unwrap_or_else(|| operation.name.to_owned());
        // Before it is said to have begun.
        let turn = self.calls.acquire().await;
        let running = Message::new("running", shown).of_call(operation.name, command.as_deref());
        self.say(running.answering(request)).await?;
        let began = Instant::now();
        let (to, mut steps) = mpsc::unbounded_channel();
        let call = self.voice.call(&self.daemon, operation.name, &arguments, Some(to));
        tokio::pin!(call);
        let answer = loop {
            tokio::select! {
                biased;
                Some(step) = steps.recv() => {
                    let progress = Message::new("progress", step.message)
                        .of_call(operation.name, command.as_deref())
                        .with("fraction", step.fraction);
                    self.say(progress.answering(request)).await?;
                }
                answer = &mut call => break answer,
            }
        };
        drop(turn);
        let answered = answer.and_then(|answer| {
            let text = operation.text(answer.clone())?;
            let large = answer.to_string().len() > LARGEST;
            let message = Message::new("assistant", text)
                .of_call(operation.name, command.as_deref())
                .with("data", if large { Value::Null } else { answer })
                .with("took_ms", u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            Ok(message)
        });
        let message = answered.unwrap_or_else(|report| failed(&report, operation, command.as_deref()));
        self.say(message.answering(request)).await
    }
}

fn failed(report: &Report, operation: &Operation, command: Option<&str>) -> Message {
    Message::new("error", report.message.as_str())
        .of_call(operation.name, command)
        .with("kind", json!(report.kind))
        .with("next", report.next.as_deref())
}

/// A message that belongs to no call and says that something is wrong.
pub fn wrong(report: &Report) -> Message {
    Message::new("error", report.message.as_str())
        .with("kind", json!(report.kind))
        .with("next", report.next.as_deref())
}

/// `meant` is what the sentence may be about by what it means: it is offered behind what comes nearest in words.
fn explained<'g>(unclear: &Unclear<'g>, meant: impl Iterator<Item = Suggestion<'g>>) -> Message {
    let (first, rest) = unclear.nearest.split_at(unclear.nearest.len().min(1));
    let mut near: Vec<&str> = Vec::new();
    for example in first.iter().copied().chain(meant).chain(rest.iter().copied()).map(|one| one.example) {
        if near.len() < OFFERED && !near.contains(&example) {
            near.push(example);
        }
    }
    Message::new("unclear", format!("{unclear}. Nothing was done."))
        .with("understood", unclear.understood.as_str())
        .with("unknown", unclear.unknown.as_str())
        .with("suggestions", json!(near))
}
