//! TLS, on a server with a certificate of an authority that only this test knows.

use crate::{
    common::{append, connected, loaded},
    own::Own,
};
use kiln::{ErrorKind, port::Fleet};
use kiln_postgres::{PgConfig, PgDb};
use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

fn openssl(dir: &Path, args: &str) {
    let done = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "openssl {args}: {done:?}");
}

/// Makes an authority, another one, and the certificate of `localhost`; the settings to use it.
fn certified(dir: &Path) -> Vec<String> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for authority in ["ca", "other"] {
        let files = format!("-keyout {authority}.key -out {authority}.pem");
        openssl(dir, &format!("req -x509 {key} -days 2 -subj /CN={authority} {files}"));
    }
    openssl(dir, &format!("req {key} -subj /CN=kiln -keyout server.key -out server.csr"));
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let by = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
    openssl(dir, &format!("x509 -req -in server.csr {by} -out server.pem"));
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(dir.join("server.key"), private).unwrap();
    let file = |what: &str, name: &str| format!("{what}={}", dir.join(name).display());
    vec![
        "ssl=on".to_owned(),
        file("ssl_cert_file", "server.pem"),
        file("ssl_key_file", "server.key"),
    ]
}

#[tokio::test]
async fn a_certificate_has_to_be_good_and_for_this_host() {
    let test = "a_certificate_has_to_be_good_and_for_this_host";
    if Command::new("openssl").arg("version").output().is_err() {
        return println!("SKIPPED: {test}: there is no openssl");
    }
    let Some(own) = Own::with(test, certified).await else { return };
    let by = |authority: &str| own.dir().join(authority).display().to_string();
    let url = |host: &str, rest: &str| format!("{}?{rest}", own.url_at(host));
    let cases = [
        ("localhost", "verify-full", Some("ca.pem"), Ok(true)),
        ("localhost", "require", Some("ca.pem"), Ok(true)),
        ("localhost", "disable", None, Ok(false)),
        // For another name, of another authority, of none that the machine knows.
        ("127.0.0.1", "verify-full", Some("ca.pem"), Err(ErrorKind::Denied)),
        ("localhost", "verify-ca", Some("other.pem"), Err(ErrorKind::Denied)),
        ("localhost", "verify-full", None, Err(ErrorKind::Denied)),
        ("localhost", "verify-full", Some("server.key"), Err(ErrorKind::Invalid)),
    ];
    for (i, (host, mode, authority, expected)) in cases.into_iter().enumerate() {
        let name = format!("case{i}");
        let authority = authority.map(|a| format!("&sslrootcert={}", by(a)));
        let authority = authority.unwrap_or_default();
        let url = url(host, &format!("application_name={name}&sslmode={mode}{authority}"));
        let connected = match PgConfig::new(&url) {
            Ok(config) => PgDb::connect(&config).await,
            Err(e) => Err(e),
        };
        let secure = match connected {
            Ok(db) => Ok(is_secure(&own, &db, &name).await),
            Err(e) => {
                assert!(e.retry_status() == kiln::Status::Permanent, "{e:?}");
                Err(e.kind())
            }
        };
        assert_eq!(secure, expected, "{url}");
    }
    let pem = std::fs::read(by("ca.pem")).unwrap();
    let config = PgConfig::new(&url("localhost", "sslmode=verify-full")).unwrap();
    let db = PgDb::connect(&config.authority(&pem).unwrap()).await.unwrap();
    append(&db, "b", 0).await.unwrap();
    assert_eq!(loaded(&db, "b").await.unwrap(), 1);
}

/// Whether all sessions of a handle use TLS.
async fn is_secure(own: &Own, db: &PgDb, name: &str) -> bool {
    db.fleet().nodes().await.unwrap();
    let raw = connected(&own.url()).await.unwrap();
    let sql = "SELECT bool_and(s.ssl), bool_or(s.ssl) FROM pg_stat_ssl s
        JOIN pg_stat_activity a ON a.pid = s.pid WHERE a.application_name = $1";
    let row = raw.query_one(sql, &[&name]).await.unwrap();
    let (all, any): (bool, bool) = (row.get(0), row.get(1));
    assert_eq!(all, any, "some sessions use TLS and some do not");
    all
}
