//! What the system bus knows of the names that plugins are discovered by.

use std::collections::BTreeSet;
use std::time::Duration;

use zbus::Connection;

/// The bus answers in milliseconds; one that has not after this long is stuck.
const LIMIT: Duration = Duration::from_secs(5);

/// The names on the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Those that somebody has.
    pub present: BTreeSet<String>,
    /// Those for which the bus would start somebody.
    pub activatable: BTreeSet<String>,
}

/// Asks the system bus; an error is why it cannot be asked.
pub fn names() -> Result<Names, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot ask the system bus: {error}"))?;
    let ask = async {
        let bus = Connection::system().await?;
        let list = async |member: &str| {
            let reply = bus
                .call_method(
                    Some("org.freedesktop.DBus"),
                    "/org/freedesktop/DBus",
                    Some("org.freedesktop.DBus"),
                    member,
                    &(),
                )
                .await?;
            reply.body().deserialize::<Vec<String>>()
        };
        let present = list("ListNames").await?.into_iter().filter(|name| !name.starts_with(':')).collect();
        let activatable = list("ListActivatableNames").await?.into_iter().collect();
        Ok::<_, zbus::Error>(Names { present, activatable })
    };
    match runtime.block_on(async { tokio::time::timeout(LIMIT, ask).await }) {
        Ok(names) => names.map_err(|error| format!("the system bus does not answer: {error}")),
        Err(_) => Err(format!("the system bus did not answer within {} s", LIMIT.as_secs())),
    }
}
