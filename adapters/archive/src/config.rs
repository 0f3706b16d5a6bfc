use std::time::Duration;

/// What archives may be fetched, and how large they may be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveConfig {
    /// Whether a URL may lead to addresses that are not on the public internet.
    pub allow_private_network: bool,
    /// How long a server may take to take a connection.
    pub connect_timeout: Duration,
    /// How long a server may be silent.
    pub server_timeout: Duration,
    /// How long an archive may take to come.
    pub total_timeout: Duration,
    /// How many bytes are received at most.
    pub bytes_max: u64,
    /// How many entries are unpacked at most.
    pub files_max: u64,
    /// How many bytes of content are unpacked at most.
    pub written_max: u64,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self {
            allow_private_network: false,
            connect_timeout: Duration::from_secs(15),
            server_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(3600),
            bytes_max: 8 << 30,
            files_max: 1_000_000,
            written_max: 32 << 30,
        }
    }
}
