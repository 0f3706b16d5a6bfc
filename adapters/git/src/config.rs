use crate::Proxies;
use std::{path::PathBuf, time::Duration};

/// What the adapter may do and how long it waits. The default is for a server that fetches what
/// strangers name: the public internet only, and nothing of the host's own.
#[derive(Clone, Debug)]
pub struct GitConfig {
    /// Whether addresses that are not public may be reached: this host, private networks, links.
    pub allow_private_network: bool,
    /// Whether `file:` URLs and paths may be read.
    pub allow_file: bool,
    /// Whether the host's own credentials are used where a plan gives none:
    /// [`netrc`](Self::netrc) and the credential helpers of [`git_config`](Self::git_config) for
    /// https, [`ssh_agent`](Self::ssh_agent) and [`identities`](Self::identities) for SSH. Never
    /// for a server that strangers use: a helper is a program, and whatever it gives is theirs.
    pub use_host_credentials: bool,
    /// A file of passwords by host, as curl reads it.
    pub netrc: Option<PathBuf>,
    /// Files of git's configuration, of which nothing but `credential.…` is read.
    pub git_config: Vec<PathBuf>,
    /// How long a credential helper may take; then it is killed.
    pub helper_timeout: Duration,
    /// The socket of an SSH agent, asked first where host credentials are used.
    pub ssh_agent: Option<PathBuf>,
    /// Private keys for SSH, tried in order where host credentials are used. Those with a
    /// passphrase are passed over.
    pub identities: Vec<PathBuf>,
    /// Files in the form of OpenSSH's `known_hosts`. SSH reaches no host that is in none of them.
    pub known_hosts: Vec<PathBuf>,
    /// Certificates to trust beside those of the system, as PEM files.
    pub ca_files: Vec<PathBuf>,
    /// Proxies for https and http. They may be anywhere; a server behind one is judged by its name
    /// only, since the proxy resolves it. SSH goes through none.
    pub proxies: Proxies,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a server may be silent.
    pub server_timeout: Duration,
    /// How many bytes one fetch may receive, submodules included.
    pub bytes_max: u64,
    /// How many files, links and directories one fetch may write, submodules included.
    pub files_max: u64,
    /// How many bytes one fetch may write into files, submodules included.
    pub written_max: u64,
    /// Whether `.git` stays in what was fetched, as a shallow repository; see `docs/git.md`.
    pub keep_git: bool,
}

impl Default for GitConfig {
    fn default() -> Self {
        Self {
            allow_private_network: false,
            allow_file: false,
            use_host_credentials: false,
            netrc: None,
            git_config: Vec::new(),
            helper_timeout: Duration::from_secs(60),
            ssh_agent: None,
            identities: Vec::new(),
            known_hosts: vec!["/etc/ssh/ssh_known_hosts".into()],
            ca_files: Vec::new(),
            proxies: Proxies::none(),
            connect_timeout: Duration::from_secs(15),
            server_timeout: Duration::from_secs(60),
            bytes_max: 8 << 30,
            files_max: 1_000_000,
            written_max: 32 << 30,
            keep_git: false,
        }
    }
}

impl GitConfig {
    /// For a person's own machine: everything that person's git could reach, with the keys and
    /// keys, known hosts and logins of a home directory, and the SSH agent and the proxies
    /// that the environment names.
    pub fn for_home(home: impl Into<PathBuf>) -> Self {
        Self::from_vars(home, |name| std::env::var(name).ok())
    }

    /// The same with variables from elsewhere: `SSH_AUTH_SOCK`, `NETRC`, `GIT_CONFIG_SYSTEM`,
    /// `GIT_CONFIG_GLOBAL`, `XDG_CONFIG_HOME` and those of [`Proxies::from_vars`].
    pub fn from_vars(home: impl Into<PathBuf>, var: impl Fn(&str) -> Option<String>) -> Self {
        let home = home.into();
        let path = |name: &str| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let ssh = home.join(".ssh");
        let mut known_hosts = Self::default().known_hosts;
        known_hosts.insert(0, ssh.join("known_hosts"));
        let identities = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| ssh.join(name)).into();
        let mut git_config = vec![path("GIT_CONFIG_SYSTEM").unwrap_or("/etc/gitconfig".into())];
        match path("GIT_CONFIG_GLOBAL") {
            Some(file) => git_config.push(file),
            None => {
                let xdg = path("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
                git_config.extend([xdg.join("git/config"), home.join(".gitconfig")]);
            }
        }
        Self {
            allow_private_network: true,
            allow_file: true,
            use_host_credentials: true,
            netrc: path("NETRC").or_else(|| Some(home.join(".netrc"))),
            git_config,
            ssh_agent: path("SSH_AUTH_SOCK"),
            identities,
            known_hosts,
            proxies: Proxies::from_vars(&var),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_read_with_its_variables() {
        let none = GitConfig::from_vars("/home/a", |_| None);
        assert_eq!(none.ssh_agent, None);
        assert_eq!(none.netrc, Some("/home/a/.netrc".into()));
        let files = ["/etc/gitconfig", "/home/a/.config/git/config", "/home/a/.gitconfig"];
        assert_eq!(none.git_config, files.map(PathBuf::from));
        let vars = [
            ("SSH_AUTH_SOCK", "/run/agent"),
            ("GIT_CONFIG_GLOBAL", "/x/config"),
            ("NETRC", "/x/netrc"),
            ("https_proxy", "proxy:1"),
        ];
        let var = |name: &str| vars.iter().find(|v| v.0 == name).map(|v| v.1.to_owned());
        let some = GitConfig::from_vars("/home/a", var);
        assert_eq!(some.ssh_agent, Some("/run/agent".into()));
        assert_eq!(some.netrc, Some("/x/netrc".into()));
        assert_eq!(some.git_config, ["/etc/gitconfig", "/x/config"].map(PathBuf::from));
        let url = url::Url::parse("https://h/r").expect("a URL");
        assert!(some.proxies.for_url(&url).expect("a proxy").is_some());
        // And a server has none of it.
        let server = GitConfig::default();
        assert!(!server.use_host_credentials && server.netrc.is_none());
        assert!(server.git_config.is_empty() && server.ssh_agent.is_none());
    }
}
