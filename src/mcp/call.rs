//! One call of a tool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ProgressNotificationParam, ProgressToken,
};
use rmcp::service::RequestContext;
use serde_json::Value;
use tokio::sync::mpsc;

use super::ask::{self, Question, Way};
use super::tools::{CONFIRMATION, Offered, Unconfirmed};
use super::user::{By, Unfit, User};
use super::{Mcp, Visitor, answer};
use crate::dbus::Step;
use crate::fault::{Kind, Report};
use crate::ops::confirm::PATIENCE;
use crate::ops::{DRY_RUN, Effect};

/// The least by which progress goes on: what clients are told must always be more than before.
const LEAST: f64 = 1e-6;

/// A call.
pub struct Calling<'c> {
    pub mcp: &'c Mcp,
    pub visitor: &'c Visitor,
    pub offered: &'c Offered,
    pub context: &'c RequestContext<RoleServer>,
    user: Arc<User>,
    /// Whether the daemon was asked to do it.
    begun: AtomicBool,
}

impl<'c> Calling<'c> {
    /// A call by somebody.
    pub fn new(
        mcp: &'c Mcp,
        visitor: &'c Visitor,
        offered: &'c Offered,
        context: &'c RequestContext<RoleServer>,
    ) -> Self {
        let user = mcp.users.get(visitor.uid);
        Self { mcp, visitor, offered, context, user, begun: AtomicBool::new(false) }
    }

    /// Makes it, until it is done or the client does not wait any longer.
    pub async fn make(&self, params: CallToolRequestParams) -> CallToolResponse {
        tokio::select! {
            biased;
            response = self.respond(params) => response,
            () = self.context.ct.cancelled() => self.left().into(),
        }
    }

    /// The client waits no longer. What the daemon was asked to do, it does: an operation cannot be left half done.
    fn left(&self) -> CallToolResult {
        let name = self.offered.operation.name;
        let report = if self.begun.load(Ordering::Relaxed) {
            Report::new(Kind::Failed, format!("{name} goes on in the daemon, though nobody waits for it"))
                .with_next("ledger_show tells how it ended")
        } else {
            Report::new(Kind::Failed, format!("{name} was cancelled before it began; nothing was done"))
        };
        answer::failed(&report)
    }

    async fn respond(&self, params: CallToolRequestParams) -> CallToolResponse {
        let operation = &self.offered.operation;
        let mut arguments = params.arguments.clone().unwrap_or_default();
        if operation.effect != Effect::Destroy {
            let rehearsed = operation.rehearses() && arguments.get(DRY_RUN) == Some(&Value::Bool(true));
            return self.run(Value::Object(arguments), rehearsed).await.into();
        }
        let word = arguments.remove(CONFIRMATION);
        if operation.rehearses() && arguments.get(DRY_RUN) == Some(&Value::Bool(true)) {
            return self.run(Value::Object(arguments), true).await.into();
        }
        if arguments.get(DRY_RUN) == Some(&Value::Bool(false)) {
            arguments.remove(DRY_RUN);
        }
        // As the operation reads them: what is asked about is what is done, whatever was left out.
        let arguments = match operation.filled(Value::Object(arguments)) {
            Ok(arguments) => arguments,
            Err(report) => return answer::failed(&report).into(),
        };
        self.destroy(arguments, word, &params).await
    }

    /// Destroys what it is that the user agreed to; else asks, and destroys nothing.
    async fn destroy(
        &self,
        arguments: Value,
        word: Option<Value>,
        params: &CallToolRequestParams,
    ) -> CallToolResponse {
        let name = self.offered.operation.name;
        let confirmed = match (&params.request_state, &word) {
            (Some(state), _) => {
                let asked = self.user.confirm(By::Client, state, name, &arguments);
                if asked.is_ok() && !ask::agreed_among(params.input_responses.as_ref()) {
                    return self.kept().into();
                }
                asked
            }
            (None, Some(Value::String(word))) => self.user.confirm(By::Word, word, name, &arguments),
            (None, Some(_)) => Err(Unfit::Unknown),
            (None, None) => return self.ask(arguments).await,
        };
        match confirmed {
            Ok(()) => self.run(arguments, false).await.into(),
            Err(unfit) => {
                let why = format!(
                    "Nothing was done: {unfit}. Call it without \"{CONFIRMATION}\" to be asked anew."
                );
                self.nothing(why.clone(), why, true).into()
            }
        }
    }

    async fn ask(&self, arguments: Value) -> CallToolResponse {
        let operation = &self.offered.operation;
        let mut changes = None;
        if operation.rehearses() {
            let mut rehearsed = arguments.clone();
            rehearsed[DRY_RUN] = true.into();
            match self.call(&rehearsed, None).await {
                Ok(mut planned) => changes = Some(planned["changes"].take()),
                // What would be refused is not asked about.
                Err(report) => return answer::failed(&report).into(),
            }
        }
        let question = Question::new(operation, self.mcp.grammar.command(operation, &arguments), changes);
        let way = Way::of(self.context);
        if way == Way::Elicit {
            return self.elicit(&question, arguments).await.into();
        }
        let by = if way == Way::Return { By::Client } else { By::Word };
        let Some(word) = self.user.ask(by, operation.name, &arguments) else {
            return answer::failed(&Report::new(Kind::Failed, "the host has no random numbers")).into();
        };
        if way == Way::Return {
            return question.returned(word).into();
        }
        let text = question.text(&word);
        let unconfirmed = Unconfirmed {
            nothing_done: true,
            why: "it destroys, and is to be confirmed first".into(),
            command: question.command,
            changes: question.changes,
            confirmation: Some(word),
            seconds: Some(PATIENCE.as_secs()),
        };
        answer::unconfirmed(text, &unconfirmed, false).into()
    }

    async fn elicit(&self, question: &Question, arguments: Value) -> CallToolResult {
        match self.context.peer.create_elicitation_with_timeout(question.form(), Some(PATIENCE)).await {
            Ok(result) if ask::agreed(&result) => self.run(arguments, false).await,
            Ok(_) => self.kept(),
            Err(error) => {
                let text = format!("Nothing was done: the client did not ask its user ({error}).");
                self.nothing(text.clone(), text, true)
            }
        }
    }

    /// The user did not agree.
    fn kept(&self) -> CallToolResult {
        let text = "Nothing was done: the user did not agree.";
        self.nothing(text.to_owned(), "the user did not agree".to_owned(), false)
    }

    fn nothing(&self, text: String, why: String, wrong: bool) -> CallToolResult {
        tracing::debug!("{} was not confirmed: {why}", self.offered.operation.name);
        let unconfirmed = Unconfirmed {
            nothing_done: true,
            why,
            command: None,
            changes: None,
            confirmation: None,
            seconds: None,
        };
        answer::unconfirmed(text, &unconfirmed, wrong)
    }

    /// Has the daemon do it.
    async fn run(&self, arguments: Value, rehearsed: bool) -> CallToolResult {
        let progress = self.context.meta.get_progress_token();
        match self.call(&arguments, progress).await {
            Ok(answer) => answer::done(&self.mcp.tools, self.offered, rehearsed, answer),
            Err(report) => answer::failed(&report),
        }
    }

    async fn call(&self, arguments: &Value, progress: Option<ProgressToken>) -> Result<Value, Report> {
        let closed = |_| Report::new(Kind::Unavailable, "the server ends");
        let _turn = self.user.calls.acquire().await.map_err(closed)?;
        let only_looks = arguments[DRY_RUN] == true || self.offered.operation.effect == Effect::Read;
        self.begun.fetch_or(!only_looks, Ordering::Relaxed);
        let (to, mut steps) = mpsc::unbounded_channel();
        let voice = &self.visitor.voice;
        let to = progress.is_some().then_some(to);
        let call = voice.call(&self.mcp.daemon, self.offered.operation.name, arguments, to);
        tokio::pin!(call);
        let mut told = 0.0;
        loop {
            tokio::select! {
                biased;
                Some(step) = steps.recv() => {
                    if let Some(token) = &progress {
                        let notification = notification(token.clone(), step, &mut told);
                        // Who does not listen any longer is told at the end of the call.
                        let _ = self.context.peer.notify_progress(notification).await;
                    }
                }
                answer = &mut call => return answer,
            }
        }
    }
}

/// How far a call is, for its client: always further than before.
fn notification(token: ProgressToken, step: Step, told: &mut f64) -> ProgressNotificationParam {
    *told = step.fraction.unwrap_or(0.0).max(*told + LEAST);
    let notification = ProgressNotificationParam::new(token, *told).with_message(step.message);
    if step.fraction.is_some() { notification.with_total(1.0) } else { notification }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::NumberOrString;

    #[test]
    fn progress_never_goes_back() {
        let mut told = 0.0;
        let mut last = 0.0;
        for fraction in [None, Some(0.0), Some(0.5), None, Some(0.4), Some(1.0)] {
            let step = Step { message: "x".into(), fraction };
            let said = notification(ProgressToken(NumberOrString::Number(1)), step, &mut told);
            assert!(said.progress > last, "{fraction:?}");
            assert_eq!(said.total.is_some(), fraction.is_some());
            last = said.progress;
        }
    }
}
