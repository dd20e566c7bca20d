//! Sessions of HTTP: each is one user's, and there are only so many.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError,
};
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId, SessionManager};

/// How many sessions there may be at once.
const ALL: usize = 256;

/// How many of them may be one user's. One more ends that which was used least lately.
const OF_ONE: usize = 16;

/// How long a session is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(60 * 60);

tokio::task_local! {
    /// The number of the user whose request is answered.
    static ASKING: u32;
}

/// Answers a request as that of a user.
pub async fn asked_by<F: Future>(uid: u32, answer: F) -> F::Output {
    ASKING.scope(uid, answer).await
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// There are too many.
    #[error("there are {ALL} sessions already")]
    Full,
    /// It is not known whose it would be.
    #[error("it is not known who asks")]
    Nobodys,
    /// The SDK's own.
    #[error(transparent)]
    Local(#[from] LocalSessionManagerError),
}

/// Whose a session is, and when it was used last.
#[derive(Debug, Clone, Copy)]
struct Owner {
    uid: u32,
    used: Instant,
}

/// The sessions.
#[derive(Debug)]
pub struct Sessions {
    inner: LocalSessionManager,
    owners: Mutex<HashMap<SessionId, Owner>>,
}

impl Default for Sessions {
    fn default() -> Self {
        let mut inner = LocalSessionManager::default();
        inner.session_config.keep_alive = Some(KEPT);
        Self { inner, owners: Mutex::default() }
    }
}

impl Sessions {
    fn owners(&self) -> MutexGuard<'_, HashMap<SessionId, Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a session is that of the user who asks; then it is used.
    fn is_theirs(&self, id: &SessionId) -> bool {
        let Ok(asking) = ASKING.try_with(|uid| *uid) else { return false };
        match self.owners().get_mut(id) {
            Some(owner) if owner.uid == asking => {
                owner.used = Instant::now();
                true
            }
            _ => false,
        }
    }

    /// Which session of a user has to end for one more.
    fn surplus(&self, uid: u32) -> Result<Option<SessionId>, SessionsError> {
        let owners = self.owners();
        let theirs = || owners.iter().filter(|(_, owner)| owner.uid == uid);
        if theirs().count() >= OF_ONE {
            return Ok(theirs().min_by_key(|(_, owner)| owner.used).map(|(id, _)| id.clone()));
        }
        if owners.len() >= ALL { Err(SessionsError::Full) } else { Ok(None) }
    }
}

impl SessionManager for Sessions {
    type Error = SessionsError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let uid = ASKING.try_with(|uid| *uid).map_err(|_| SessionsError::Nobodys)?;
        if let Some(surplus) = self.surplus(uid)? {
            self.close_session(&surplus).await?;
        }
        let (id, transport) = self.inner.create_session().await?;
        self.owners().insert(id.clone(), Owner { uid, used: Instant::now() });
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        Ok(self.inner.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        // Another's is as one that is not there: who knows its number gets nothing of it.
        Ok(self.is_theirs(id) && self.inner.has_session(id).await?)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        // Without a request, it is the session that ended.
        if ASKING.try_with(|_| ()).is_ok() && !self.is_theirs(id) {
            return Ok(());
        }
        self.owners().remove(id);
        Ok(self.inner.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        Ok(self.inner.create_stream(id, message).await?)
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        Ok(self.inner.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        Ok(self.inner.create_standalone_stream(id).await?)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        Ok(self.inner.resume(id, last_event_id).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn made(sessions: &Sessions, uid: u32) -> Result<SessionId, SessionsError> {
        asked_by(uid, sessions.create_session()).await.map(|(id, _)| id)
    }

    async fn has(sessions: &Sessions, uid: u32, id: &SessionId) -> bool {
        asked_by(uid, sessions.has_session(id)).await.unwrap()
    }

    #[tokio::test]
    async fn a_session_is_its_users_alone() {
        let sessions = Sessions::default();
        let id = made(&sessions, 1000).await.unwrap();
        assert!(has(&sessions, 1000, &id).await && !has(&sessions, 1001, &id).await);
        assert!(!sessions.has_session(&id).await.unwrap(), "nobody's");
        asked_by(1001, sessions.close_session(&id)).await.unwrap();
        assert!(has(&sessions, 1000, &id).await, "another cannot end it");
        asked_by(1000, sessions.close_session(&id)).await.unwrap();
        assert!(!has(&sessions, 1000, &id).await);
        assert!(matches!(sessions.create_session().await, Err(SessionsError::Nobodys)));
    }

    #[tokio::test]
    async fn a_user_has_so_many_sessions_and_the_one_least_used_goes() {
        let sessions = Sessions::default();
        let mut ids = Vec::new();
        for _ in 0..OF_ONE {
            ids.push(made(&sessions, 1000).await.unwrap());
        }
        assert!(has(&sessions, 1000, &ids[0]).await, "which is a use of it");
        made(&sessions, 1000).await.unwrap();
        assert!(has(&sessions, 1000, &ids[0]).await && !has(&sessions, 1000, &ids[1]).await);
        for uid in 0..u32::try_from(ALL - OF_ONE).unwrap() {
            made(&sessions, 2000 + uid).await.unwrap();
        }
        assert!(matches!(made(&sessions, 3000).await, Err(SessionsError::Full)));
        made(&sessions, 1000).await.unwrap();
    }
}
