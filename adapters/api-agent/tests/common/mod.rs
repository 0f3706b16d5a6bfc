//! Stored exchanges: what is asked, and what is answered.

use axum::http::{Request, response::Parts};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt::Write, path::PathBuf};

/// A request and its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) request: Asked,
    pub(crate) response: Answered,
}

/// A request, as far as agents differ in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    method: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// Where the log goes on, and whether it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) json: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

fn file(version: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/agent");
    root.join(format!("{version}.json"))
}

pub(crate) fn read(version: &str) -> Vec<Exchange> {
    serde_json::from_slice(&std::fs::read(file(version)).unwrap()).unwrap()
}

pub(crate) fn write(version: &str, exchanges: &[Exchange]) {
    let mut text = serde_json::to_string_pretty(exchanges).unwrap();
    text.push('\n');
    std::fs::write(file(version), text).unwrap();
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// The request as an agent of a version sends it.
pub(crate) fn ask(version: &str, asked: &Asked) -> Request<Bytes> {
    let request = Request::builder().method(asked.method.as_str()).uri(&asked.path);
    let request = request.header("kiln-agent-version", version);
    let request = match &asked.lease {
        Some(lease) => request.header("kiln-lease", lease),
        None => request,
    };
    let body = match (&asked.json, &asked.hex) {
        (Some(json), _) => serde_json::to_vec(json).unwrap(),
        (None, Some(hex)) => bytes(hex),
        (None, None) => Vec::new(),
    };
    request.body(body.into()).unwrap()
}

impl Exchange {
    /// The same question with the answer that came.
    pub(crate) fn answered(&self, head: &Parts, body: &[u8]) -> Self {
        let header = |name| head.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        let kind = header("content-type");
        let json = kind.as_deref().is_some_and(|k| k.ends_with("json"));
        let response = Answered {
            status: head.status.as_u16(),
            log: header("kiln-log-next").zip(header("kiln-log-closed")),
            json: json.then(|| serde_json::from_slice(body).unwrap()),
            hex: (!json && !body.is_empty()).then(|| hex(body)),
            kind,
        };
        Self { request: self.request.clone(), response }
    }

    pub(crate) fn map_request(&self, f: impl Fn(&mut Value)) -> Self {
        let mut it = self.clone();
        it.request.json.iter_mut().for_each(f);
        it
    }
}

impl Answered {
    /// Whether all that an older answer said is here too.
    pub(crate) fn holds(&self, older: &Self) -> bool {
        let json = match (&self.json, &older.json) {
            (Some(new), Some(old)) => holds(new, old),
            (new, old) => new == old,
        };
        let rest = |a: &Self| (a.status, a.kind.clone(), a.log.clone(), a.hex.clone());
        json && rest(self) == rest(older)
    }
}

fn holds(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            old.iter().all(|(key, old)| new.get(key).is_some_and(|new| holds(new, old)))
        }
        (Value::Array(new), Value::Array(old)) => {
            new.len() == old.len() && new.iter().zip(old).all(|(new, old)| holds(new, old))
        }
        (new, old) => new == old,
    }
}

/// Adds to every object what a newer version could have in it; not to maps of anybody's texts.
pub(crate) fn newer(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                if !matches!(key.as_str(), "labels" | "limits" | "env" | "boxes" | "how") {
                    newer(value);
                }
            }
            object.insert("since_1_2".into(), serde_json::json!({ "new": [1] }));
        }
        Value::Array(all) => all.iter_mut().for_each(newer),
        _ => {}
    }
}
