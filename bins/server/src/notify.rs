//! Who is told how builds go.

use crate::config::{Config, Notify};
use kiln::{
    Result,
    courier::Notifiers,
    port::{Clock, Index, Notifier, Secrets},
};
use kiln_forge::{Statuses, Webhook};
use kiln_mail::Mail;
use std::sync::Arc;

/// All notifiers, by their names.
pub(crate) fn notifiers(
    config: &Config,
    secrets: &Arc<dyn Secrets>,
    clock: &Arc<dyn Clock>,
    index: &Arc<dyn Index>,
) -> Result<Notifiers> {
    let made = config.notify.iter().map(|(name, notify)| {
        let (secrets, clock, index) = (secrets.clone(), clock.clone(), index.clone());
        let notifier = match notify.clone() {
            Notify::Webhook(c) => Webhook::new(c, secrets, clock).map(shared),
            Notify::Status(c) => Statuses::new(c, secrets).map(shared),
            Notify::Mail(c) => Mail::new(c, secrets, index).map(shared),
        };
        let notifier = notifier.map_err(|e| e.with("setting", format!("notify.{name}")))?;
        Ok((name.clone(), notifier))
    });
    made.collect::<Result<_>>().map(Arc::new)
}

fn shared(notifier: impl Notifier) -> Arc<dyn Notifier> {
    Arc::new(notifier)
}
