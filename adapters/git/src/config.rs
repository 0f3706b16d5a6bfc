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
    /// Whether the host's own credentials are used where a plan gives none: the credential helpers
    /// of the host's git configuration, [`ssh_agent`](Self::ssh_agent) and
    /// [`identities`](Self::identities).
    pub use_host_credentials: bool,
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
    /// known hosts of a home directory, and the SSH agent and the proxies that the environment
    /// names.
    pub fn for_home(home: impl Into<PathBuf>) -> Self {
        Self::from_vars(home, |name| std::env::var(name).ok())
    }

    /// The same with variables from elsewhere: `SSH_AUTH_SOCK` and those of
    /// [`Proxies::from_vars`].
    pub fn from_vars(home: impl Into<PathBuf>, var: impl Fn(&str) -> Option<String>) -> Self {
        let ssh = home.into().join(".ssh");
        let mut known_hosts = Self::default().known_hosts;
        known_hosts.insert(0, ssh.join("known_hosts"));
        let identities = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| ssh.join(name)).into();
        Self {
            allow_private_network: true,
            allow_file: true,
            use_host_credentials: true,
            ssh_agent: var("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(Into::into),
            identities,
            known_hosts,
            proxies: Proxies::from_vars(&var),
            ..Self::default()
        }
    }
}
