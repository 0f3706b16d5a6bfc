//! Whatever is sent to whichever route of the document: a problem, at once, and never the server's.

use crate::{
    admin::Book,
    document::{document, operations},
    server::{Server, say},
};
use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use kiln::{memory::MemoryFleet, port::Fleet};
use kiln_api_native::Everybody;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// How many bodies and names are made up for each operation.
const MADE_UP: usize = 40;

struct Nasty {
    server: Server,
    document: Value,
    build: String,
}

impl Nasty {
    async fn new() -> Self {
        let fleet = Arc::new(MemoryFleet::default());
        fleet.enrol(&kiln_conformance::sample::node("n1", 1)).await.unwrap();
        let server =
            Server::with(Everybody, |api| api.fleet(fleet).tokens(Arc::new(Book::default())));
        let build = server.submit(say("x")).await;
        server.text(&format!("/api/v1/builds/{build}/logs?follow=1"), "", None).await;
        Self { server, document: document(), build }
    }

    /// The operations, with paths of things that are there.
    fn operations(&self) -> Vec<(String, String, Value)> {
        let real = |path: &str| {
            path.replace("{build}", &self.build).replace("{node}", "n1").replace("{name}", "x")
        };
        operations(&self.document).into_iter().map(|(m, p, o)| (m, real(&p), o)).collect()
    }

    /// Sends this; it is answered in time, and what is no success is a whole problem.
    async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> StatusCode {
        let body: Bytes = body.into();
        let shown = format!(
            "{method} {} {}",
            path.chars().take(200).collect::<String>(),
            String::from_utf8_lossy(&body[..body.len().min(200)])
        );
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        // What the client's own library refuses never comes here.
        let Ok(request) = request.body(Body::from(body)) else { return StatusCode::BAD_REQUEST };
        let answer = async {
            let response = self.server.send(request).await;
            let (status, kind) =
                (response.status(), response.headers().get("content-type").cloned());
            (status, kind, response.into_body().collect().await.unwrap().to_bytes())
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
        let (status, kind, bytes) = answer.unwrap_or_else(|_| panic!("{shown}: it hangs"));
        assert!(!status.is_server_error(), "{shown}: {status} {}", String::from_utf8_lossy(&bytes));
        if status.is_client_error() {
            assert_eq!(kind.unwrap(), "application/problem+json", "{shown}");
            let problem: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(problem["status"], status.as_u16(), "{shown}");
            assert!(problem["detail"].as_str().unwrap().len() <= 4_000, "{shown}");
        }
        status
    }

    async fn refuses(&self, method: &str, path: &str, body: impl Into<Bytes>) {
        let body: Bytes = body.into();
        let status = self.send(method, path, body.clone()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        assert!(status.is_client_error(), "{method} {path} {shown}: {status}");
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(name) => {
                let name = name.rsplit('/').next().unwrap();
                self.resolve(&self.document["components"]["schemas"][name])
            }
            None => match schema["oneOf"].as_array() {
                Some(all) if all.iter().any(|s| s["type"] == "null") => {
                    self.resolve(all.iter().find(|s| s["type"] != "null").unwrap())
                }
                _ => schema,
            },
        }
    }

    /// Objects of which one property, here or further inside, is of the wrong type.
    fn wrong(&self, schema: &Value) -> Vec<Value> {
        let schema = self.resolve(schema);
        let Some(properties) = schema["properties"].as_object() else { return vec![json!(17)] };
        let mut all = Vec::new();
        for (name, property) in properties {
            let property = self.resolve(property);
            let kind = property["type"].to_string();
            let wrong = match () {
                () if property["properties"].is_object() => self.wrong(property),
                () if kind.contains("string") || kind.contains("array") => vec![json!(17)],
                () if kind.contains("integer") => vec![json!("x"), json!(1e300), json!(-1.5)],
                () if kind.contains("boolean") => vec![json!("true")],
                () => vec![json!(17), json!([17])],
            };
            all.extend(wrong.into_iter().map(|w| json!({ name.as_str(): w })));
        }
        all
    }
}

fn json_body(operation: &Value) -> Option<&Value> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    schema.is_object().then_some(schema)
}

#[test]
fn a_body_that_is_not_understood_is_refused() {
    kiln_conformance::run("nasty", async {
        let nasty = Nasty::new().await;
        let mut tried = 0;
        for (method, path, operation) in nasty.operations() {
            let Some(schema) = json_body(&operation) else { continue };
            let deep = "[".repeat(20_000);
            for text in ["{", "nul", "17", "[]", "\"x\"", "{\"zzz\":1}", "{}}", "{\"a\":", &deep] {
                nasty.refuses(&method, &path, text.to_owned()).await;
            }
            nasty.refuses(&method, &path, &b"{\"a\":\"\xff\"}"[..]).await;
            nasty.refuses(&method, &path, vec![b' '; 5 << 20]).await;
            for wrong in nasty.wrong(schema) {
                nasty.refuses(&method, &path, wrong.to_string()).await;
                tried += 1;
            }
            let form = Request::builder().method(method.as_str()).uri(&path);
            let form = form.header("content-type", "text/plain").body(Body::from("{}")).unwrap();
            let status = nasty.server.send(form).await.status();
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{method} {path}");
        }
        assert!(tried > 40, "the document has bodies: {tried}");
        nasty.server.end().await;
    });
}

#[test]
fn a_name_that_names_nothing_is_refused() {
    kiln_conformance::run("nasty", async {
        let nasty = Nasty::new().await;
        let long = "a".repeat(5_000);
        let names = [
            "..",
            "%2e%2e",
            "..%2f..%2fetc%2fpasswd",
            "%00",
            "%ff%fe",
            "%0d%0aA:b",
            "-x",
            "%20",
            "%F0%9F%92%A5",
            "%27%3B%20DROP%20TABLE%20builds%3B--",
            "%25s%25n",
            &long,
        ];
        for (method, path, operation) in operations(&nasty.document) {
            for name in names {
                let path =
                    path.replace("{build}", name).replace("{node}", name).replace("{name}", name);
                if !path.contains(name) {
                    continue;
                }
                let body = if json_body(&operation).is_some() { "{\"drained\":true}" } else { "" };
                nasty.refuses(&method, &path, body).await;
            }
        }
        nasty.server.end().await;
    });
}

#[test]
fn a_query_that_is_not_understood_is_refused() {
    kiln_conformance::run("nasty", async {
        let nasty = Nasty::new().await;
        for (method, path, operation) in nasty.operations() {
            let none = vec![];
            for query in ["zzz=1", "%ff=1", "zzz", "=", "a[]=1"] {
                nasty.refuses(&method, &format!("{path}?{query}"), "").await;
            }
            for parameter in operation["parameters"].as_array().unwrap_or(&none) {
                let name = parameter["name"].as_str().unwrap();
                if parameter["in"] != "query" {
                    continue;
                }
                let twice = format!("{path}?{name}=1&{name}=2");
                nasty.refuses(&method, &twice, "").await;
                let huge = format!("{path}?{name}={}", "9".repeat(30_000));
                nasty.send(&method, &huge, "").await;
                if parameter["schema"]["type"].to_string().contains("integer") {
                    for value in ["x", "-1", "1.5", "", "99999999999999999999999"] {
                        nasty.refuses(&method, &format!("{path}?{name}={value}"), "").await;
                    }
                }
            }
        }
        nasty.server.end().await;
    });
}

#[test]
fn whatever_is_made_up_is_no_trouble_of_the_server() {
    kiln_conformance::run("nasty", async {
        let nasty = Nasty::new().await;
        let mut made_up = TestRunner::deterministic();
        let leaf = proptest::prop_oneof![
            proptest::strategy::Just(Value::Null),
            proptest::bool::ANY.prop_map(Value::from),
            proptest::num::i64::ANY.prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
        ];
        let names: Vec<String> = nasty.document["components"]["schemas"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(|s| s["properties"].as_object())
            .flat_map(|p| p.keys().cloned())
            .collect();
        let value = leaf.prop_recursive(4, 32, 6, move |inner| {
            let name = proptest::sample::select(names.clone());
            proptest::prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(name, inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        for (method, path, _) in nasty.operations() {
            for _ in 0..MADE_UP {
                let body = value.new_tree(&mut made_up).unwrap().current();
                nasty.send(&method, &path, body.to_string()).await;
                let query = "[a-z]{1,8}=[ -~]{0,20}".new_tree(&mut made_up).unwrap().current();
                let query: String = query.replace([' ', '#', '"', '<', '>', '`', '{', '}'], "+");
                nasty.send(&method, &format!("{path}?{query}"), "").await;
            }
        }
        nasty.server.end().await;
    });
}
