//! The settings in `deploy/`, read by the agent itself.

use std::{path::Path, process::Command};

/// The token is the one thing that the settings cannot bring: an agent that misses no more than that
/// has understood everything else.
#[test]
fn every_file_of_settings_is_one_that_the_agent_takes() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("nowhere");
    for (file, server) in [
        ("compose/kiln-agent.toml", None),
        ("systemd/kiln-agent.toml", None),
        // The templates of the chart name the server.
        ("helm/kiln/files/kiln-agent.toml", Some("http://server:7070")),
    ] {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_kiln-agent"));
        agent.arg("--config").arg(deploy.join(file)).arg("--token-file").arg(&token);
        agent.arg("--data").arg(dir.path()).env_remove("KILN_SERVER");
        let ended = agent.args(server.map(|s| format!("--server={s}"))).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{file}: {said}");
        assert!(said.contains("the token cannot be read"), "{file}: {said}");
    }
}
