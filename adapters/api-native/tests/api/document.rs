//! The OpenAPI document: what it says is what the router does. `KILN_BLESS=1` writes it.

use crate::server::Server;
use axum::http::StatusCode;
use kiln_api_native::{Everybody, openapi};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::PathBuf};

pub(crate) const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

pub(crate) fn document() -> Value {
    serde_json::to_value(openapi()).unwrap()
}

/// Method, path and what the document says, for every operation.
pub(crate) fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                all.push((method.to_uppercase(), path.clone(), operation.clone()));
            }
        }
    }
    all
}

#[test]
fn the_document_is_the_golden_one() {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/api/v1.openapi.json");
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(text == golden, "the API is another one than before: look at the difference");
    assert_eq!(document()["openapi"], "3.1.0");
}

#[test]
fn every_route_is_in_the_document_and_the_reverse() {
    kiln_conformance::run("document", async {
        let server = Server::new(Everybody);
        let documented = operations(&document());
        let paths: BTreeSet<&str> = documented.iter().map(|(_, path, _)| path.as_str()).collect();
        for path in &paths {
            for method in METHODS.map(str::to_uppercase) {
                let is = documented.iter().any(|(m, p, _)| *m == method && p == path);
                let path = path.replace(['{', '}'], "");
                let (status, problem) = server.ask(&method, &path, "", Value::Null).await;
                let taken = status != StatusCode::METHOD_NOT_ALLOWED;
                assert_eq!(taken, is, "{method} {path}");
                assert_ne!(problem["detail"], "there is no such route", "{method} {path}");
            }
        }
        // The router knows no path that the document does not: it tells its paths to who debugs it.
        let routes = format!("{:?}", server.routes);
        let known = routes.split('"').filter(|text| text.starts_with('/'));
        let ours = |p: &&str| !matches!(*p, "/" | "/api/{*rest}" | "/{*__private__axum_fallback}");
        let known: BTreeSet<String> = known.filter(ours).map(|p| p.replace("{*", "{")).collect();
        assert_eq!(known, paths.iter().map(ToString::to_string).collect());
        server.end().await;
    });
}

#[test]
fn the_document_is_served() {
    kiln_conformance::run("document", async {
        let server = Server::new(crate::server::ByName);
        let (status, served) = server.ask("GET", "/api/v1/openapi.json", "", json!(null)).await;
        assert_eq!((status, served), (StatusCode::OK, document()));
        server.end().await;
    });
}
