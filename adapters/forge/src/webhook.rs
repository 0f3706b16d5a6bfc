//! Signed requests to a URL.
//!
//! Headers and signature are those of the Standard Webhooks specification: `webhook-id`,
//! `webhook-timestamp` in seconds, and `webhook-signature` with `v1,` and the base64 of the
//! HMAC-SHA256 of `id.timestamp.body`.

use crate::{
    client::{Outward, receiver, reveal},
    config::{On, WebhookConfig},
    error::{OP, answered, invalid},
    wire::Body,
};
use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use kiln::{
    BuildId, Error, ErrorKind, Event, Owner, Result, Seq,
    port::{Clock, Notice, Notifier, Secrets},
};
use reqwest::{
    StatusCode, Url,
    header::{HeaderMap, HeaderValue},
};
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// Answers that say that this very request will never be taken.
const GONE: [StatusCode; 4] = [
    StatusCode::BAD_REQUEST,
    StatusCode::GONE,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

/// Tells a URL. A receiver that was told twice sees the same `webhook-id`.
#[derive(Clone)]
pub struct Webhook {
    config: WebhookConfig,
    url: Url,
    owner: Owner,
    outward: Outward,
    secrets: Arc<dyn Secrets>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Webhook {
    /// The host alone: people put secrets into paths.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Checks the settings; `Invalid` says what is wrong. The secret is asked for each time.
    pub fn new(
        config: WebhookConfig,
        secrets: Arc<dyn Secrets>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let url = receiver(&config.url, config.allow_http)?;
        if config.events.is_empty() {
            return Err(invalid("`events` is empty: nobody would ever be told"));
        }
        let owner = config.owner.clone().unwrap_or_else(Owner::local);
        let outward = Outward::new(config.allow_private_network)?;
        Ok(Self { config, url, owner, outward, secrets, clock })
    }

    async fn headers(&self, id: &str, body: &[u8]) -> Result<HeaderMap> {
        let secret = reveal(&*self.secrets, &self.owner, &self.config.secret).await?;
        let time = (self.clock.now().0 / 1000).to_string();
        let signature = sign(secret.expose(), id, &time, body)?;
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("webhook-id", id), ("webhook-timestamp", &time), ("webhook-signature", &signature)]
        {
            let value = HeaderValue::from_str(value)
                .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// The key by which a receiver can tell that it was told twice. It has no dot, so what is signed
/// can be read in one way only.
fn id(build: &BuildId, seq: Seq) -> String {
    let hash = Sha256::digest(format!("{build}/{seq}"));
    let hex: String = hash[..16].iter().map(|b| format!("{b:02x}")).collect();
    format!("msg_{hex}")
}

fn sign(secret: &[u8], id: &str, time: &str, body: &[u8]) -> Result<String> {
    let unusable = || crate::error::mendable(ErrorKind::Invalid, "the secret is no signing key");
    let key = match secret.strip_prefix(b"whsec_") {
        Some(key) => BASE64_STANDARD.decode(key).map_err(|_| unusable())?,
        None => secret.to_vec(),
    };
    let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| unusable())?;
    let mac = mac.chain_update(format!("{id}.{time}.")).chain_update(body);
    Ok(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
}

/// The word for a kind of event, as journals have it.
fn word(on: On) -> Result<String> {
    let word = serde_json::to_value(on).ok().and_then(|w| w.as_str().map(str::to_owned));
    word.ok_or_else(|| Error::new(ErrorKind::Unexpected, OP, "an event has no name"))
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, notice: &Notice) -> Result<()> {
        let on = On::of(&notice.event).filter(|on| self.config.events.contains(on));
        let theirs = self.config.owner.as_ref().is_none_or(|o| *o == notice.build.owner);
        let Some(on) = on.filter(|_| theirs) else { return Ok(()) };
        let id = id(&notice.build.build, notice.seq);
        let body = serde_json::to_vec(&Body::of(&id, &word(on)?, notice))
            .map_err(|e| Error::new(ErrorKind::Unexpected, OP, e.to_string()))?;
        let headers = self.headers(&id, &body).await?;
        match self.outward.post(&self.url, headers, body).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, _) => Err(answered(&self.url, status, &GONE)),
        }
    }

    fn wants(&self, event: &Event) -> bool {
        On::of(event).is_some_and(|on| self.config.events.contains(&on))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"test": 2432232314}"#;
        let signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(sign(b"whsec_%%%", "a", "1", body).is_err());
    }

    #[test]
    fn an_id_has_no_dot_and_is_of_one_event() {
        let build = |name: &str| BuildId::new(name).unwrap();
        let one = id(&build("a.1"), Seq(2));
        assert!(!one.contains('.') && one == id(&build("a.1"), Seq(2)));
        assert_ne!(one, id(&build("a"), Seq(12)));
        assert_ne!(one, id(&build("a.1"), Seq(3)));
    }
}
