//! What only an admin may do, and what is asked before a build.

use crate::server::{ByName, Server};
use async_trait::async_trait;
use axum::http::StatusCode;
use kiln::{Error, ErrorKind, Result, Secret, memory::MemoryFleet, port::Fleet};
use kiln_api_native::{Everybody, TokenBook, TokenInfo};
use kiln_conformance::sample::node;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// A book in memory whose tokens all have one text.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Vec<TokenInfo>>);

#[async_trait]
impl TokenBook for Book {
    async fn list(&self) -> Result<Vec<TokenInfo>> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn create(&self, token: &TokenInfo) -> Result<Secret> {
        let mut all = self.0.lock().unwrap();
        if all.iter().any(|t| t.name == token.name) {
            return Err(Error::new(ErrorKind::AlreadyExists, "TokenBook::create", "it is there"));
        }
        all.push(token.clone());
        Ok(Secret::new("kiln_text"))
    }

    async fn remove(&self, name: &str) -> Result<()> {
        let mut all = self.0.lock().unwrap();
        let before = all.len();
        all.retain(|t| t.name != name);
        if all.len() == before {
            return Err(Error::new(ErrorKind::NotFound, "TokenBook::remove", "there is none"));
        }
        Ok(())
    }
}

#[test]
fn nodes_are_listed_drained_and_removed() {
    kiln_conformance::run("admin", async {
        let fleet = Arc::new(MemoryFleet::default());
        for name in ["a", "b"] {
            fleet.enrol(&node(name, 3)).await.unwrap();
        }
        let server = Server::with(Everybody, |api| api.fleet(fleet.clone()));
        let nodes = server.get("/api/v1/nodes").await;
        assert_eq!(nodes["nodes"][1], server.get("/api/v1/nodes/b").await);
        assert_eq!(nodes["nodes"][1]["slots"], 3);
        for drained in [true, false] {
            let body = json!({"drained": drained});
            let (status, node) = server.ask("POST", "/api/v1/nodes/b/drain", "", body).await;
            assert_eq!((status, &node["drained"]), (StatusCode::OK, &json!(drained)));
            let known = fleet.nodes().await.unwrap();
            assert_eq!((known[0].drained, known[1].drained), (false, drained));
        }
        let (status, _) = server.ask("DELETE", "/api/v1/nodes/b", "", Value::Null).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(fleet.nodes().await.unwrap().len(), 1);
        for (method, path, body) in [
            ("GET", "/api/v1/nodes/b", Value::Null),
            ("DELETE", "/api/v1/nodes/b", Value::Null),
            ("POST", "/api/v1/nodes/b/drain", json!({"drained": true})),
        ] {
            let (status, _) = server.ask(method, path, "", body).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method}");
        }
        assert_eq!(fleet.nodes().await.unwrap().len(), 1, "a drain makes no node");
        server.end().await;
    });
}

#[test]
fn a_token_is_told_once() {
    kiln_conformance::run("admin", async {
        let server = Server::with(Everybody, |api| api.tokens(Arc::new(Book::default())));
        let ci = json!({"name": "ci", "owner": "ann", "scopes": ["submit"]});
        let (status, made) = server.ask("POST", "/api/v1/tokens", "", ci.clone()).await;
        assert_eq!((status, &made["token"]), (StatusCode::CREATED, &json!("kiln_text")));
        assert_eq!(server.get("/api/v1/tokens").await, json!({"tokens": [ci]}));
        let (status, _) = server.ask("POST", "/api/v1/tokens", "", ci).await;
        assert_eq!(status, StatusCode::CONFLICT);
        for bad in [
            json!({"name": "", "owner": "ann", "scopes": ["submit"]}),
            json!({"name": "x\n", "owner": "ann", "scopes": ["submit"]}),
            json!({"name": "x", "owner": "", "scopes": ["submit"]}),
            json!({"name": "x", "owner": "ann", "scopes": []}),
            json!({"name": "x", "owner": "ann", "scopes": ["god"]}),
        ] {
            let (status, _) = server.ask("POST", "/api/v1/tokens", "", bad.clone()).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        }
        for expected in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
            let (status, _) = server.ask("DELETE", "/api/v1/tokens/ci", "", Value::Null).await;
            assert_eq!(status, expected);
        }
        server.end().await;
    });
}

#[test]
fn only_an_admin_sees_nodes_and_tokens() {
    kiln_conformance::run("admin", async {
        let server = Server::with(ByName, |api| api.tokens(Arc::new(Book::default())));
        let token = json!({"name": "x", "owner": "bob", "scopes": ["admin"]});
        for (method, path, body) in [
            ("GET", "/api/v1/nodes", Value::Null),
            ("GET", "/api/v1/nodes/a", Value::Null),
            ("DELETE", "/api/v1/nodes/a", Value::Null),
            ("POST", "/api/v1/nodes/a/drain", json!({"drained": true})),
            ("GET", "/api/v1/tokens", Value::Null),
            ("POST", "/api/v1/tokens", token),
            ("DELETE", "/api/v1/tokens/x", Value::Null),
        ] {
            for (token, expected) in [
                ("", StatusCode::UNAUTHORIZED),
                ("bob-read", StatusCode::FORBIDDEN),
                ("bob-submit", StatusCode::FORBIDDEN),
                ("bob-agent", StatusCode::FORBIDDEN),
            ] {
                let (status, _) = server.ask(method, path, token, body.clone()).await;
                assert_eq!(status, expected, "{method} {path} {token}");
            }
        }
        let (status, _) = server.ask("GET", "/api/v1/nodes", "eve-admin", Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        server.end().await;
    });
}

#[test]
fn a_source_is_looked_at_without_a_build() {
    kiln_conformance::run("admin", async {
        let server = Server::new(ByName);
        let verify = async |token: &str, source: Value| {
            let body = json!({"source": source});
            server.ask("POST", "/api/v1/sources/verify", token, body).await
        };
        let (status, answer) = verify("ann-submit", json!({"url": "memory:code"})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert!(answer["revision"]["id"].is_string(), "{answer}");
        for source in
            [json!({"url": "memory:code", "reference": "nowhere"}), json!({"url": "memory:gone"})]
        {
            let (status, answer) = verify("ann-submit", source.clone()).await;
            assert_eq!((status, &answer["problem"]["code"]), (StatusCode::OK, &json!("not_found")));
        }
        let (_, answer) = verify("ann-submit", json!({"url": "nothing://x"})).await;
        assert_eq!(answer["problem"]["code"], "unsupported");
        let foreign = json!({"url": "upload:upload-000000000000-0-0"});
        let (status, _) = verify("ann-submit", foreign).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        let (status, _) = verify("ann-read", json!({"url": "memory:code"})).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        let list = server.ask("GET", "/api/v1/builds", "eve-admin", Value::Null).await.1;
        assert_eq!(list["builds"], json!([]));
        server.end().await;
    });
}
